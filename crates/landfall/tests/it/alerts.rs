//! The alert rules go by metrics that there are.

use std::{collections::BTreeSet, fs, path::Path};

use crate::root;

/// Every word in `text` that is a metric's name.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c| !is_part(c)).filter(|word| word.starts_with("landfall_"));
    words.map(str::to_owned).collect()
}

/// Every metric that the code registers: its name is a whole literal. What tests name is not looked at.
fn registered(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            registered(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_name().is_some_and(|name| name != "tests.rs")
        {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let literals = code.split('"').filter(|part| part.starts_with("landfall_"));
            found.extend(literals.map(str::to_owned));
        }
    }
}

/// What rules go by that neither an edge nor a control plane registers.
fn unregistered(rules: &str) -> Vec<String> {
    let mut known = BTreeSet::new();
    for krate in ["control", "edge", "issuance"] {
        registered(&root().join("crates").join(krate).join("src"), &mut known);
    }
    let is_known = |name: &String| {
        let base = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
        known.contains(name) || base.is_some_and(|base| known.contains(base))
    };
    names(rules).into_iter().filter(|name| !is_known(name)).collect()
}

#[test]
fn every_metric_that_a_rule_names_is_registered() {
    let rules = fs::read_to_string(root().join("deploy/alerts.yml")).unwrap();
    assert!(names(&rules).len() > 20);
    assert_eq!(unregistered(&rules), [""; 0]);
}

#[test]
fn a_rule_that_goes_by_what_nobody_registers_is_found() {
    let rules =
        "expr: 'rate(landfall_hostname_served_seconds_bucket[5m]) > landfall_no_such_total'";
    assert_eq!(unregistered(rules), ["landfall_no_such_total"]);
}

#[test]
fn every_alert_says_what_is_wrong_what_it_means_and_what_to_do() {
    let rules = fs::read_to_string(root().join("deploy/alerts.yml")).unwrap();
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 20);
    for alert in alerts {
        for key in ["expr: ", "for: ", "severity: ", "summary: ", "description: ", "action: "] {
            assert!(alert.contains(key), "{key}in {alert}");
        }
    }
}
