//! The keys of a config file, as the types say that it is read into.
#![allow(clippy::wildcard_enum_match_arm, reason = "the enums of a syntax tree have no end")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use syn::{Attribute, Expr, Fields, GenericArgument, Item, Lit, Meta, PathArguments, Type};

/// A key.
pub(super) struct Key {
    /// Its section's path and its name, with `<name>` in the place of what an operator names.
    pub(super) path: String,
    pub(super) kind: Kind,
    /// The doc comment of its field.
    pub(super) doc: String,
}

/// What a key's value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    /// With the largest value that it has room for.
    Integer(i64),
    Number,
    Text,
    Path,
    Duration,
    Size,
    Choice(Vec<String>),
    /// An inline table of these keys.
    Inline(Vec<String>),
    List(Box<Self>),
}

impl Kind {
    pub(super) fn name(&self) -> String {
        let quoted = |words: &[String]| words.join("`, `");
        match self {
            Self::Bool => "`true` or `false`".to_owned(),
            Self::Integer(_) => "integer".to_owned(),
            Self::Number => "number".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Path => "path".to_owned(),
            Self::Duration => "duration".to_owned(),
            Self::Size => "size".to_owned(),
            Self::Choice(words) => format!("one of `{}`", quoted(words)),
            Self::Inline(keys) => format!("table of `{}`", quoted(keys)),
            Self::List(kind) => format!("list of {}s", kind.name()),
        }
    }
}

/// The types of some source files, by name.
pub(super) struct Types(BTreeMap<String, Item>);

impl Types {
    /// Reads files, and all files below folders.
    pub(super) fn read(root: &Path, sources: &[&str]) -> Self {
        let mut found = Self(BTreeMap::new());
        for source in sources {
            found.add(&root.join(source));
        }
        found
    }

    fn add(&mut self, path: &Path) {
        if path.is_dir() {
            let mut inside: Vec<PathBuf> =
                fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
            inside.sort();
            inside.iter().for_each(|path| self.add(path));
            return;
        }
        for item in syn::parse_file(&fs::read_to_string(path).unwrap()).unwrap().items {
            let name = match &item {
                Item::Struct(item) => item.ident.to_string(),
                Item::Enum(item) => item.ident.to_string(),
                _ => continue,
            };
            self.0.insert(name, item);
        }
    }

    /// Every key of the struct `name`, below `section`, in the order of the sources.
    pub(super) fn keys(&self, name: &str, section: &str) -> Vec<Key> {
        let Some(Item::Struct(item)) = self.0.get(name) else { panic!("no struct {name}") };
        let Fields::Named(fields) = &item.fields else { panic!("{name} has no named fields") };
        let mut keys = Vec::new();
        let mut tables = Vec::new();
        for field in &fields.named {
            let own = field.ident.as_ref().unwrap().to_string();
            let own = serde_word(&field.attrs, "rename").unwrap_or(own);
            let path = if section.is_empty() { own } else { format!("{section}.{own}") };
            match self.table(&field.ty) {
                Some((table, Named::ByOperator)) => {
                    tables.extend(self.keys(&table, &format!("{path}.<name>")));
                }
                Some((table, Named::Once)) => tables.extend(self.keys(&table, &path)),
                None => {
                    let (kind, doc) = (self.kind(&field.ty), doc(&field.attrs));
                    keys.push(Key { path, kind, doc });
                }
            }
        }
        keys.extend(tables);
        keys
    }

    /// The struct that is a section of its own, where `ty` is one.
    fn table(&self, ty: &Type) -> Option<(String, Named)> {
        let (name, arguments) = parts(ty);
        match (name.as_str(), arguments.as_slice()) {
            ("Option", [inside]) => self.table(inside),
            ("BTreeMap", [_, inside]) => Some((self.table(inside)?.0, Named::ByOperator)),
            _ => match self.0.get(&name)? {
                Item::Struct(item) if serde_word(&item.attrs, "try_from").is_none() => {
                    Some((name, Named::Once))
                }
                _ => None,
            },
        }
    }

    fn kind(&self, ty: &Type) -> Kind {
        let (name, arguments) = parts(ty);
        match (name.as_str(), arguments.as_slice()) {
            ("Option", [inside]) => self.kind(inside),
            ("Vec", [inside]) => Kind::List(Box::new(self.kind(inside))),
            ("bool", _) => Kind::Bool,
            ("u8", _) => Kind::Integer(u8::MAX.into()),
            ("u16" | "NonZeroU16", _) => Kind::Integer(u16::MAX.into()),
            ("u32", _) => Kind::Integer(u32::MAX.into()),
            ("u64" | "usize", _) => Kind::Integer(i64::MAX),
            ("f64", _) => Kind::Number,
            ("String", _) => Kind::Text,
            ("PathBuf", _) => Kind::Path,
            ("Duration", _) => Kind::Duration,
            ("ByteSize", _) => Kind::Size,
            _ => self.named(&name),
        }
    }

    fn named(&self, name: &str) -> Kind {
        match self.0.get(name) {
            Some(Item::Enum(item)) => {
                let case = serde_word(&item.attrs, "rename_all").unwrap_or_default();
                let words = item.variants.iter().map(|variant| {
                    let own = || cased(&variant.ident.to_string(), &case);
                    serde_word(&variant.attrs, "rename").unwrap_or_else(own)
                });
                Kind::Choice(words.collect())
            }
            Some(Item::Struct(item)) => {
                let fields = serde_word(&item.attrs, "try_from").unwrap();
                let keys = self.keys(&fields, "").into_iter().map(|key| key.path);
                Kind::Inline(keys.collect())
            }
            _ => panic!("{name}: a type of a config key that this test does not know"),
        }
    }
}

/// How a section comes by its name.
enum Named {
    Once,
    ByOperator,
}

/// The last name of a path, and its generic arguments.
fn parts(ty: &Type) -> (String, Vec<&Type>) {
    let Type::Path(path) = ty else { panic!("a config key is of a type without a name") };
    let last = path.path.segments.last().unwrap();
    let arguments = match &last.arguments {
        PathArguments::AngleBracketed(list) => list
            .args
            .iter()
            .filter_map(|argument| match argument {
                GenericArgument::Type(ty) => Some(ty),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    (last.ident.to_string(), arguments)
}

/// The text of `#[serde(key = "text")]`.
fn serde_word(attributes: &[Attribute], key: &str) -> Option<String> {
    let mut found = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        let read = attribute.parse_nested_meta(|meta| {
            if meta.input.peek(syn::Token![=]) {
                let value: syn::LitStr = meta.value()?.parse()?;
                if meta.path.is_ident(key) {
                    found = Some(value.value());
                }
            }
            Ok(())
        });
        read.unwrap();
    }
    found
}

/// A doc comment on one line.
fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join(" ")
}

fn cased(variant: &str, case: &str) -> String {
    let mut text = String::new();
    for letter in variant.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push(if case == "kebab-case" { '-' } else { '_' });
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}
