//! The alert rules, as Prometheus reads them.

use std::path::Path;

use landfall_tests::tools;

#[tokio::test]
async fn the_alert_rules_are_sound_and_tell_what_their_cases_say() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = manifest.join("sdk/install");
    let installed = tools::run(script.to_str().unwrap(), &["promtool"]).await.expect_success();
    let promtool = format!("{}/root/usr/bin/promtool", installed.trim());
    for (kind, file) in [("check", "alerts.yml"), ("test", "alerts.test.yml")] {
        let path = manifest.join("../deploy").join(file);
        tools::run(&promtool, &[kind, "rules", path.to_str().unwrap()]).await.expect_success();
    }
}
