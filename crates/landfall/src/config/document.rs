//! A TOML document that knows where each key stands, and can lose one.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue, Deserializer, Error},
};

/// A parsed text.
#[derive(Clone)]
pub(super) struct Document<'a>(Spanned<DeTable<'a>>);

impl<'a> Document<'a> {
    /// Parses the text, without regard to which keys it should have.
    ///
    /// # Errors
    /// The first error of syntax: what follows it can't be told apart.
    pub(super) fn parse(text: &'a str) -> Result<Self, Error> {
        DeTable::parse(text).map(Self)
    }

    /// Whether the top level has `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.get_ref().contains_key(key)
    }

    /// Reads the document into `T`.
    ///
    /// # Errors
    /// The first value or key that does not fit.
    pub(super) fn deserialize<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(Deserializer::from(self.0.clone()))
    }

    /// Removes the key or the array's element at `span` and names the key. `None` where nothing is
    /// there.
    pub(super) fn remove_at(&mut self, span: &Range<usize>) -> Option<String> {
        remove_from_table(self.0.get_mut(), span)
    }

    /// Where the dotted `path` stands, or else the table that it would stand in. `None` where
    /// that table is missing too, and for a missing key of the top level.
    pub(super) fn offset_of(&self, path: &str) -> Option<usize> {
        let mut table = self.0.get_ref();
        let mut found = None;
        for segment in path.split('.') {
            let (name, index) = split_index(segment);
            let Some((key, value)) = table.get_key_value(name) else { break };
            found = Some(key.span().start);
            match value.get_ref() {
                DeValue::Table(inner) => table = inner,
                DeValue::Array(elements) => {
                    let Some(element) = index.and_then(|index| elements.get(index)) else { break };
                    found = Some(element.span().start);
                    let DeValue::Table(inner) = element.get_ref() else { break };
                    table = inner;
                }
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_) => break,
            }
        }
        found
    }
}

/// `https[1]` as `https` and 1.
fn split_index(segment: &str) -> (&str, Option<usize>) {
    let split = || {
        let (name, rest) = segment.split_once('[')?;
        Some((name, rest.strip_suffix(']')?.parse().ok()?))
    };
    match split() {
        Some((name, index)) => (name, Some(index)),
        None => (segment, None),
    }
}

/// Looks inside first: the span of a `[table]` is its header's, not its content's.
fn remove_from_table(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let mut here = None;
    for (key, value) in table.iter_mut() {
        let inside = match value.get_mut() {
            DeValue::Table(inner) => remove_from_table(inner, span).map(|rest| format!(".{rest}")),
            DeValue::Array(elements) => remove_from_array(elements, span),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => None,
        };
        if let Some(rest) = inside {
            return Some(format!("{}{rest}", key.get_ref()));
        }
        if covers(&key.span(), span) || covers(&value.span(), span) {
            here = Some(key.get_ref().to_string());
        }
    }
    let key = here?;
    table.remove(key.as_str());
    Some(key)
}

/// What follows the array's key in the path: nothing, or a key of a table in the array.
fn remove_from_array(elements: &mut DeArray<'_>, span: &Range<usize>) -> Option<String> {
    for element in elements.iter_mut() {
        if let DeValue::Table(inner) = element.get_mut()
            && let Some(rest) = remove_from_table(inner, span)
        {
            return Some(format!(".{rest}"));
        }
    }
    let before = elements.len();
    let kept = elements.iter().filter(|element| !covers(&element.span(), span));
    *elements = kept.cloned().collect();
    (elements.len() < before).then(String::new)
}

fn covers(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end && !outer.is_empty()
}

/// The line of the byte at `offset`, from 1.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Whether `path` is `key` or stands under it; an index into an array does not count.
pub(super) fn is_within(path: &str, key: &str) -> bool {
    let names = |path: &str| -> Vec<String> {
        path.split('.').map(|segment| split_index(segment).0.to_owned()).collect()
    };
    names(path).starts_with(&names(key))
}
