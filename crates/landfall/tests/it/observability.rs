//! Metrics, alerts, their runbook and the dashboard speak of the same things.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use crate::root;

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Every word in `text` that is a metric's name.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c| !is_part(c)).filter(|word| is_metric(word));
    words.map(str::to_owned).collect()
}

fn is_metric(word: &str) -> bool {
    word.starts_with("landfall_")
        || word.starts_with("process_")
            && (word.contains("_seconds") || word.contains("_bytes") || word.ends_with("_fds"))
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
            let literals = code.split('"').filter(|part| names(part).contains(*part));
            found.extend(literals.map(str::to_owned));
        }
    }
}

fn registered_by(crates: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for krate in crates {
        registered(&root().join("crates").join(krate).join("src"), &mut found);
    }
    found
}

/// The metrics that docs/metrics.md has a row for below `title`.
fn documented(title: &str) -> BTreeSet<String> {
    let page = read("docs/metrics.md");
    let part = page.split("\n## ").find(|part| part.starts_with(title)).unwrap();
    let rows = part.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next()).map(str::to_owned).collect()
}

/// What `text` names that docs/metrics.md lacks.
fn undocumented(text: &str) -> Vec<String> {
    let known: BTreeSet<String> =
        documented("An edge").union(&documented("The control plane")).cloned().collect();
    let is_known = |name: &String| {
        let base = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
        known.contains(name) || base.is_some_and(|base| known.contains(base))
    };
    names(text).into_iter().filter(|name| !is_known(name)).collect()
}

#[test]
fn every_metric_of_the_code_is_in_the_docs_and_the_other_way_round() {
    for (title, crates) in
        [("An edge", &["edge", "issuance"][..]), ("The control plane", &["control"])]
    {
        let (known, code) = (documented(title), registered_by(crates));
        assert!(code.len() > 30);
        let missing: Vec<_> = code.difference(&known).collect();
        assert!(missing.is_empty(), "docs/metrics.md, {title}: add a row for {missing:?}");
        let gone: Vec<_> = known.difference(&code).collect();
        assert!(gone.is_empty(), "docs/metrics.md, {title}: nobody registers {gone:?}");
    }
}

#[test]
fn every_metric_that_rules_and_dashboard_name_is_in_the_docs() {
    for path in ["deploy/alerts.yml", "deploy/alerts.test.yml", "deploy/grafana-dashboard.json"] {
        let text = read(path);
        assert!(names(&text).len() > 20, "{path}");
        assert_eq!(undocumented(&text), [""; 0], "{path}");
    }
}

/// The runbook looks for metrics by how their names begin.
#[test]
fn whatever_the_runbook_looks_for_is_in_the_docs() {
    let rows = read("docs/metrics.md");
    let found = names(&read("docs/runbook.md"));
    assert!(found.len() > 20);
    let gone: Vec<_> = found
        .iter()
        .filter(|name| !rows.contains(&format!("| `{}", name.trim_end_matches('_'))))
        .collect();
    assert!(gone.is_empty(), "docs/runbook.md: docs/metrics.md has no {gone:?}");
}

#[test]
fn what_nobody_registers_is_found() {
    let rules =
        "expr: 'rate(landfall_hostname_served_seconds_bucket[5m]) > landfall_no_such_total'";
    assert_eq!(undocumented(rules), ["landfall_no_such_total"]);
}

/// The name of each alert, and its text.
fn alerts(rules: &str) -> Vec<(&str, &str)> {
    let alerts = rules.split("- alert: ").skip(1);
    alerts.map(|alert| alert.split_once('\n').unwrap()).collect()
}

#[test]
fn every_alert_says_what_is_wrong_what_it_means_and_what_to_do() {
    let rules = read("deploy/alerts.yml");
    assert!(alerts(&rules).len() > 20);
    for (name, alert) in alerts(&rules) {
        for key in ["expr: ", "for: ", "severity: ", "summary: ", "description: ", "action: "] {
            assert!(alert.contains(key), "{name} lacks {key}");
        }
        let link = format!("runbook_url: 'docs/runbook.md#{}'\n", name.to_lowercase());
        assert!(alert.contains(&link), "{name} lacks {link}");
    }
}

#[test]
fn every_alert_has_its_section_in_the_runbook_and_its_case_in_the_tests() {
    let (rules, runbook, cases) =
        (read("deploy/alerts.yml"), read("docs/runbook.md"), read("deploy/alerts.test.yml"));
    let named: BTreeSet<&str> = alerts(&rules).into_iter().map(|(name, _)| name).collect();
    let sections: BTreeSet<&str> =
        runbook.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(named, sections, "alerts and sections of docs/runbook.md");
    for name in named {
        let fires = format!("max(ALERTS{{alertname=\"{name}\", alertstate=\"firing\"}})");
        assert!(cases.contains(&fires), "deploy/alerts.test.yml has no case in which {name} fires");
    }
}

#[test]
fn the_dashboard_is_one_that_grafana_can_read() {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana-dashboard.json")).unwrap();
    for variable in ["datasource", "job", "instance"] {
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        assert!(variables.iter().any(|own| own["name"] == variable), "{variable}");
    }
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another's");
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for cell in place("x")..place("x") + place("w") {
            assert!(cell < 24, "{title} is too wide");
            for line in place("y")..place("y") + place("h") {
                assert!(taken.insert((cell, line)), "{title} lies on another");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            assert!(expression.contains("instance=~\"$instance\""), "{title}: {expression}");
        }
    }
}
