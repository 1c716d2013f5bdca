//! What is made of a zone, by one resolver.

use landfall_dns::Finding;

use crate::support::World;

#[tokio::test]
async fn passes_a_cname_to_the_target() {
    let world = World::start("www CNAME my-site.edge.test.").await;
    let evidence = world.verify("www.shop.test").await;
    assert_eq!(evidence.finding, Finding::PointsHere, "{evidence:#?}");
    assert_eq!(evidence.chain, ["my-site.edge.test"]);
}
