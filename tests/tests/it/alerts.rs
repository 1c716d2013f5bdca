//! What Prometheus makes of our metrics, our alert rules and our configuration of it.

use std::{collections::BTreeSet, fs, path::Path};

use landfall_tests::{Lab, tools};

/// The promtool of a Prometheus that is not installed.
async fn promtool() -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk/install");
    let installed = tools::run(script.to_str().unwrap(), &["promtool"]).await.expect_success();
    format!("{}/root/usr/bin/promtool", installed.trim())
}

#[tokio::test]
async fn the_alert_rules_are_sound_and_tell_what_their_cases_say() {
    let promtool = promtool().await;
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    for command in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts.test.yml"],
        ["check", "config", "prometheus.yml"],
    ] {
        let [verb, kind, file] = command;
        let path = deploy.join(file);
        tools::run(&promtool, &[verb, kind, path.to_str().unwrap()]).await.expect_success();
    }
}

/// The row of docs/metrics.md for a metric, below `title`.
fn row<'a>(page: &'a str, title: &str, name: &str) -> Option<&'a str> {
    let part = page.split("\n## ").find(|part| part.starts_with(title))?;
    part.lines().find(|line| line.starts_with(&format!("| `{name}` |")))
}

/// What `text`, in Prometheus' format, has that docs/metrics.md tells otherwise.
fn undocumented(page: &str, title: &str, text: &str) -> BTreeSet<String> {
    let mut wrong = BTreeSet::new();
    let mut own = "";
    for line in text.lines() {
        if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            own = row(page, title, name).unwrap_or_default();
            if !own.contains(&format!("` | {kind} |")) {
                wrong.insert(format!("{name} is a {kind}"));
            }
        } else if let Some((name, set)) = line.split_once('{') {
            let labels = set.split("\",").filter_map(|pair| pair.split_once("=\""));
            for (label, _) in labels.filter(|(label, _)| *label != "le") {
                if !own.contains(&format!("`{label}`: ")) {
                    wrong.insert(format!("{name} has the label {label}"));
                }
            }
        }
    }
    wrong
}

#[tokio::test]
async fn prometheus_finds_no_fault_in_the_metrics_and_the_docs_tell_them_as_they_are() {
    let (promtool, lab) = (promtool().await, Lab::start().await);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = fs::read_to_string(page).unwrap();
    let url = format!("http://{}/metrics", lab.control_address());
    let control = reqwest::get(url).await.unwrap().text().await.unwrap();
    let edge = lab.read_admin(0, "/metrics").await.unwrap().text;
    for (title, text) in [("An edge", edge), ("The control plane", control)] {
        let said = tools::run_with_input(&promtool, &["check", "metrics"], &text).await;
        said.expect_success();
        assert!(text.contains("landfall_build_info{version=\""), "{title}");
        assert_eq!(undocumented(&page, title, &text), BTreeSet::new(), "docs/metrics.md, {title}");
    }
}
