use std::{collections::BTreeSet, fs};

use super::*;
use crate::{
    api::{self, guard},
    server::Control,
};

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
/// Makes the test write the document that it otherwise compares.
const WRITE: &str = "LANDFALL_WRITE_OPENAPI";

fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter();
        operations.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

#[test]
fn the_committed_document_is_that_of_the_code() {
    let text = format!("{:#}\n", document());
    if std::env::var_os(WRITE).is_some() {
        fs::write(COMMITTED, &text).unwrap();
    }
    let committed = fs::read_to_string(COMMITTED).unwrap_or_default();
    assert!(committed == text, "docs/openapi.json is not that of the code: run `make openapi`");
}

#[test]
fn every_operation_has_a_summary_and_a_name_of_its_own() {
    let document = document();
    let mut names = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name), "{name} of {method} {path} is used twice");
        assert!(operation["summary"].is_string(), "{method} {path}");
        assert!(operation["tags"][0].is_string(), "{method} {path}");
    }
}

#[test]
fn every_field_is_described() {
    let document = document();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(schema["description"].is_string(), "{name}");
        for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
            assert!(schema["description"].is_string(), "{name}.{field}");
        }
    }
}

/// An endpoint of the API, and the scope that a key must have.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Endpoint {
    method: String,
    path: String,
    scope: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_has_the_routes_of_the_api_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::bind(guard::tests::config(folder.path())).await.unwrap();
    let served: BTreeSet<Endpoint> = api::native(&control.app())
        .inventory
        .into_iter()
        .map(|(verb, path, need)| Endpoint {
            method: format!("{verb:?}").to_lowercase(),
            path: path.to_owned(),
            scope: need.scope.to_string(),
        })
        .collect();
    let document = document();
    let guarded = operations(&document).filter(|(path, _, _)| path.starts_with("/api/"));
    let documented: BTreeSet<Endpoint> = guarded
        .map(|(path, method, operation)| {
            let scope = operation["security"][0]["apiKey"][0].as_str().unwrap();
            Endpoint { method: method.to_owned(), path: path.to_owned(), scope: scope.to_owned() }
        })
        .collect();
    let forgotten: Vec<_> = served.difference(&documented).collect();
    let gone: Vec<_> = documented.difference(&served).collect();
    assert!(
        forgotten.is_empty() && gone.is_empty(),
        "not documented: {forgotten:?}, not served: {gone:?}"
    );
}
