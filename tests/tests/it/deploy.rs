//! What an operator installs: the systemd units and the Debian package's scripts, by the tools that judge them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path, PathBuf},
};

use landfall_tests::{landfall, tools::run};

/// The most that `systemd-analyze security` may say of a unit, in tenths: nothing worse than what a server on ports
/// below 1024 needs.
const EXPOSURE: &str = "16";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[tokio::test]
async fn the_units_are_right_and_leave_little_exposed() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["landfall-edge.service", "landfall-control.service"] {
        let unit = fs::read_to_string(repository().join("deploy").join(name)).unwrap();
        // A command has to be there for the unit to be right.
        let unit = unit.replace("/usr/bin/landfall", landfall().to_str().unwrap());
        let path = folder.path().join(name);
        fs::write(&path, unit).unwrap();
        let path = path.to_str().unwrap();

        let verified = run("systemd-analyze", &["verify", "--man=no", path]).await;
        assert!(verified.status.success(), "{}", verified.stderr);
        let ours: Vec<&str> =
            verified.stderr.lines().filter(|line| line.contains("landfall")).collect();
        assert!(ours.is_empty(), "{ours:#?}");

        let threshold = format!("--threshold={EXPOSURE}");
        let args = ["security", "--offline=true", "--no-pager", &threshold, path];
        let rated = run("systemd-analyze", &args).await;
        assert!(rated.status.success(), "{}", rated.stdout);
    }
}

#[tokio::test]
async fn the_scripts_of_the_package_have_no_known_mistake() {
    let deploy = repository().join("deploy");
    let scripts =
        ["debian/build", "debian/postinst", "debian/prerm", "debian/postrm", "test/package"];
    let scripts: Vec<String> =
        scripts.iter().map(|name| deploy.join(name).to_str().unwrap().to_owned()).collect();
    let scripts: Vec<&str> = scripts.iter().map(String::as_str).collect();

    run("shellcheck", &scripts).await.expect_success();
}

/// `make package-test` builds the package and tries it; this is what can be seen without.
#[test]
fn the_package_names_files_that_are_there_and_modes_that_fit() {
    let path = repository().join("crates/landfall/Cargo.toml");
    let manifest: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
    let deb = &manifest["package"]["metadata"]["deb"];
    let crate_folder = path.parent().unwrap();
    let mut programs = Vec::new();
    for asset in deb["assets"].as_array().unwrap() {
        let [source, target, mode] = [0, 1, 2].map(|part| asset[part].as_str().unwrap());
        assert!(!target.starts_with('/'), "{target}");
        if mode == "755" {
            programs.push(target);
        } else {
            assert_eq!(mode, "644", "{source}");
        }
        // What the build writes, and what stands for many files.
        if source.contains("target/") || source.contains('*') {
            continue;
        }
        assert!(crate_folder.join(source).is_file(), "{source} is missing");
    }
    assert_eq!(programs, ["usr/bin/"]);
    let scripts = crate_folder.join(deb["maintainer-scripts"].as_str().unwrap());
    for script in ["postinst", "prerm", "postrm"] {
        assert!(scripts.join(script).is_file(), "{script} is missing");
    }
}

/// The files of `folder` and of the folders in it, at any depth.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let below = paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] });
    below.collect()
}

/// The documents of the package: where they will be, and where they are.
fn packaged_documents() -> BTreeMap<PathBuf, PathBuf> {
    let manifest = fs::read_to_string(repository().join("crates/landfall/Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    let mut documents = BTreeMap::new();
    for asset in assets {
        let [source, target] = [0, 1].map(|part| asset[part].as_str().unwrap());
        let Some(source) = source.strip_prefix("../../") else { continue };
        if !target.starts_with("usr/share/doc/") || !target.ends_with('/') {
            continue;
        }
        let (folder, pattern) = source.rsplit_once('/').unwrap_or((".", source));
        let (folder, is_deep) = match folder.strip_suffix("/**") {
            Some(folder) => (repository().join(folder), true),
            None => (repository().join(folder), false),
        };
        let found = match is_deep {
            true => files_below(&folder),
            false => fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect(),
        };
        let end = pattern.trim_start_matches('*');
        for path in found.into_iter().filter(|path| path.to_str().unwrap().ends_with(end)) {
            let relative = path.strip_prefix(&folder).unwrap();
            documents.insert(Path::new(target).join(relative), path);
        }
    }
    documents
}

/// `path` without `..`.
fn resolved(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            assert!(resolved.pop(), "{}", path.display());
        } else {
            resolved.push(component);
        }
    }
    resolved
}

#[test]
fn what_the_packages_documents_link_to_is_in_the_package() {
    let documents = packaged_documents();
    let mut links = 0;
    let pages =
        documents.iter().filter(|(_, path)| path.extension().is_some_and(|own| own == "md"));
    for (place, path) in pages {
        let text = fs::read_to_string(path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next()) {
            if link.contains("://") {
                continue;
            }
            let target = resolved(&place.parent().unwrap().join(link));
            let is_there = documents.keys().any(|own| own.starts_with(&target));
            assert!(is_there, "{}: {link}", place.display());
            links += 1;
        }
    }
    assert!(links > 50, "{links} links");
}
