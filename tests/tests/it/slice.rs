//! The main job: a hostname that is added at the control plane is served over TLS at the edge.

use landfall_tests::{Lab, Origin};

#[tokio::test]
async fn serves_a_hostname_once_it_is_added_and_refuses_it_once_it_is_removed() {
    let origin = Origin::start("shop").await;
    let lab = Lab::start().await;
    let property = lab.api().create_property("shop", origin.address()).await;
    let hostname = lab.api().add_hostname(property, "www.lab.localhost").await;

    lab.wait_until_served(0, "www.lab.localhost", "shop").await;
    lab.api().remove_hostname(property, hostname).await;
    lab.wait_until_refused(0, "www.lab.localhost").await;

    assert_eq!(lab.get(0, "shop.lab.localhost", "/").await.unwrap().text, "shop");
}

#[tokio::test]
async fn serves_what_it_last_knew_after_a_restart_without_a_control_plane() {
    let origin = Origin::start("shop").await;
    let mut lab = Lab::start().await;
    lab.api().create_property("shop", origin.address()).await;
    lab.wait_until_served(0, "shop.lab.localhost", "shop").await;

    lab.control().kill().await;
    lab.edge(0).kill().await;
    lab.edge(0).start();

    lab.wait_until_edge_is_ready(0).await;
    lab.wait_until_served(0, "shop.lab.localhost", "shop").await;
}
