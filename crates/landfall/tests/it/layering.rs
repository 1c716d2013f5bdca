//! Who may import whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

use crate::root;

/// For each crate of ours, those of ours that it may import. What is not here yet may be added
/// as the design has it.
const ALLOWED: &[(&str, &[&str])] = &[
    ("landfall-model", &[]),
    ("landfall-feed", &["landfall-model"]),
    ("landfall-certstore", &["landfall-model"]),
    ("landfall-dns", &["landfall-model"]),
    ("landfall-issuance", &["landfall-dns", "landfall-model"]),
    ("landfall-control", &["landfall-dns", "landfall-feed", "landfall-issuance", "landfall-model"]),
    (
        "landfall-edge",
        &[
            "landfall-certstore",
            "landfall-feed",
            "landfall-issuance",
            "landfall-dns",
            "landfall-model",
        ],
    ),
    ("landfall", &["landfall-edge", "landfall-control"]),
];

/// Crates of others that only the named crates of ours may import.
const OWNED: &[(&str, &[&str])] = &[
    ("pingora", &["landfall-edge"]),
    ("pingora-core", &["landfall-edge"]),
    ("pingora-proxy", &["landfall-edge"]),
    ("pingora-http", &["landfall-edge"]),
    ("pingora-cache", &["landfall-edge"]),
    ("sqlx", &["landfall-control"]),
    ("rusqlite", &["landfall-feed"]),
    ("instant-acme", &["landfall-issuance"]),
    ("psl", &["landfall-dns"]),
    ("hickory-server", &["landfall"]),
    ("hickory-proto", &["landfall-control"]),
    ("anyhow", &["landfall"]),
    ("clap", &["landfall"]),
];

/// What a crate of ours may never import, wherever it comes from.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("landfall-model", &["tokio", "rustls", "reqwest", "axum", "hyper"]),
    ("landfall-certstore", &["reqwest", "axum", "landfall-feed"]),
];

/// What stands in one file alone: the text, and the crate that has it.
const ONE_FILE: &[(&str, &str)] = &[
    ("rustls_pemfile", "landfall-control"),
    ("ResolvesServerCert", "landfall-certstore"),
    ("instant_acme", "landfall-issuance"),
];

/// Names that say nothing of what is inside.
const NAMELESS: &[&str] = &["util", "utils", "common", "core", "helpers", "misc"];

fn packages() -> Vec<Package> {
    let manifest = root().join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().unwrap();
    metadata.packages
}

/// What is linked into the crate; tests may import what they need.
fn imports(package: &Package) -> BTreeSet<&str> {
    let normal = package.dependencies.iter().filter(|dependency| {
        !matches!(dependency.kind, DependencyKind::Development | DependencyKind::Build)
    });
    normal.map(|dependency| dependency.name.as_str()).collect()
}

/// The crates of the product, without the end-to-end tests and benchmarks.
fn crates() -> Vec<Package> {
    let is_product = |package: &Package| package.manifest_path.starts_with(root().join("crates"));
    packages().into_iter().filter(is_product).collect()
}

/// Every Rust file in a folder and those below it; none where there is no such folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    if !folder.is_dir() {
        return Vec::new();
    }
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let is_rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    let mut found: Vec<PathBuf> = files.into_iter().filter(is_rust).collect();
    found.extend(folders.iter().flat_map(|folder| sources(folder)));
    found
}

/// The lines of a source that are not comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn our_crates_import_only_those_below_them() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    for package in crates() {
        let name = package.name.as_str();
        let own = allowed.get(name).unwrap_or_else(|| panic!("{name} has no place in the layers"));
        for import in imports(&package).iter().filter(|import| import.starts_with("landfall")) {
            assert!(own.contains(import), "{name} must not import {import}");
        }
    }
}

#[test]
fn heavy_dependencies_stay_in_the_crate_that_owns_them() {
    for package in crates() {
        let imports = imports(&package);
        for (dependency, owners) in OWNED {
            let may = owners.contains(&package.name.as_str());
            assert!(may || !imports.contains(dependency), "{} imports {dependency}", package.name);
        }
    }
}

#[test]
fn pure_crates_stay_pure() {
    for package in crates() {
        let imports = imports(&package);
        let forbidden = FORBIDDEN.iter().filter(|(name, _)| *name == package.name.as_str());
        for dependency in forbidden.flat_map(|(_, dependencies)| *dependencies) {
            assert!(!imports.contains(dependency), "{} imports {dependency}", package.name);
        }
    }
}

#[test]
fn what_may_be_replaced_stands_in_one_file() {
    for (text, owner) in ONE_FILE {
        let mut found = Vec::new();
        for package in crates() {
            let folder = package.manifest_path.parent().unwrap().join("src");
            for path in sources(folder.as_std_path()) {
                if code(&path).contains(text) {
                    assert_eq!(package.name.as_str(), *owner, "{text} in {}", path.display());
                    found.push(path);
                }
            }
        }
        assert!(found.len() <= 1, "{text} is in {found:?}");
    }
}

#[test]
fn no_crate_or_module_has_a_name_that_says_nothing() {
    for package in packages() {
        let short = package.name.trim_start_matches("landfall-");
        assert!(!NAMELESS.contains(&short), "{}", package.name);
        let folder = package.manifest_path.parent().unwrap().join("src");
        for path in sources(folder.as_std_path()) {
            for part in path.strip_prefix(&folder).unwrap().with_extension("").iter() {
                let part = part.to_str().unwrap();
                assert!(!NAMELESS.contains(&part), "{}", path.display());
            }
        }
    }
}

#[test]
fn no_file_is_over_600_lines() {
    for package in packages() {
        let folder = package.manifest_path.parent().unwrap().join("src");
        for path in sources(folder.as_std_path()) {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= 600, "{} has {lines} lines", path.display());
        }
    }
}
