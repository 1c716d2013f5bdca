//! The native API against its own document, by schemathesis.

use landfall_tests::{Lab, Origin, tools};

#[tokio::test]
async fn answers_are_what_the_document_says_whatever_is_asked() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/install");
    let installed = tools::run(script, &["contract"]).await.expect_success();
    let origin = Origin::start("shop").await;
    let lab = Lab::builder().edges(0).start().await;
    let property = lab.api().create_property("shop", origin.address()).await;
    lab.api().add_hostname(property, "www.lab.localhost").await;
    lab.api().add_hostname(property, "www.customer.example").await;

    let settings = concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/contract/schemathesis.toml");
    let program = format!("{}/bin/st", installed.trim());
    let document = format!("http://{}/api/openapi.json", lab.control_address());
    let key = format!("X-API-Key: {}", lab.api_key());
    let folder = lab.folder().to_str().unwrap();
    let ran = tools::run(
        "env",
        &[
            "-C",
            folder,
            &program,
            "--config-file",
            settings,
            "run",
            &document,
            "-H",
            &key,
            // It would revoke the key that it has.
            "--exclude-operation-id",
            "revokeKey",
            // It has no way to write NDJSON.
            "--exclude-operation-id",
            "importHostnames",
            // A schema can't say that an origin is public or that a certificate is valid.
            "--exclude-checks",
            "positive_data_acceptance",
            "--phases",
            "coverage,fuzzing,stateful",
            "--generation-deterministic",
            "--max-examples",
            "10",
            "--max-time",
            "60",
            "--continue-on-failure",
            "--no-color",
            "--warnings",
            "off",
        ],
    )
    .await;

    let said = ran.expect_success();
    assert!(said.contains("Tested: "), "{said}");
}
