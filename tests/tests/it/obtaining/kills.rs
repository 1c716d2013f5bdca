//! An agent that dies at each step of a job: another one, or the same node once it is back, goes on.

use std::time::Duration;

use landfall_tests::{DEADLINE, Moment, wait_until};

use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::Scene;

const NAME: &str = "www.customer.test";

/// At which of its calls the agent dies.
#[derive(Clone, Copy)]
enum Call {
    /// One to the CA.
    Authority(&'static str),
    /// A report to the control plane.
    Control(&'static str),
}

/// Kills the node whose agent has come to a call, and says how many orders its CA took in all until the
/// hostname is served.
async fn orders_when_killed(call: Call, moment: Moment) -> usize {
    let mut scene = Scene::start(3, &[("issuance.lease", "6s".into())]).await;
    let before = scene.serve("before.customer.test").await;
    let orders = scene.ca.granted("newOrder");
    let (checkpoint, call) = match call {
        Call::Authority(call) => (&scene.ca, call),
        Call::Control(call) => (&scene.control, call),
    };
    checkpoint.hold(call, moment);
    let path = scene.add(NAME).await;
    checkpoint.wait_until_held().await;
    if call == "order" {
        wait_until("the CA has validated the name", DEADLINE, async || {
            let valid = scene.fleet.pebble.log().matches("set VALID").count();
            (valid >= 2).then_some(())
        })
        .await;
    }
    let holder = scene.holder_or_last();

    scene.fleet.lab.edge(holder).kill().await;
    scene.fleet.lab.edge(holder).start();
    scene.ca.release();
    scene.control.release();

    scene.fleet.lab.wait_until_edge_is_ready(holder).await;
    scene.fleet.wait_until_served_everywhere(NAME, "shop").await;
    scene.is_settled(&path).await;
    scene.is_settled(&before).await;
    scene.ca.granted("newOrder") - orders
}

impl Scene {
    /// The edge whose agent has a job, or the one that has just done it.
    fn holder_or_last(&self) -> usize {
        let query = "SELECT pop FROM job WHERE issuer = 0 ORDER BY id DESC LIMIT 1";
        self.query(query).first().unwrap().trim_start_matches("edge").parse().unwrap()
    }

    /// Waits until all edges show one certificate, which is the one that is kept, and nothing else is left
    /// of the job.
    async fn is_settled(&self, path: &str) {
        wait_until("the job is done", DEADLINE, async || {
            let open = self.query("SELECT CAST(id AS TEXT) FROM job WHERE state = 0");
            let shown = self.query("SELECT name FROM validation");
            (open.is_empty() && shown.is_empty()).then_some(())
        })
        .await;
        let hostname = self.fleet.lab.api().read(path).await;
        let name = hostname["name"].as_str().unwrap();
        let id = &hostname["id"];
        let kept = format!("SELECT hex(chain) FROM certificate WHERE hostname_id = {id}");
        let kept = self.query(&kept);
        let [kept] = kept.as_slice() else { panic!("{} certificates are kept", kept.len()) };
        for number in 0..self.fleet.edges() {
            let what = format!("edge {number} shows the certificate that is kept for {name}");
            wait_until(&what, Duration::from_secs(30), async || {
                let pem = self.fleet.certificate(number, name, &[]).await?;
                let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
                kept.starts_with(&data_encoding::HEXUPPER.encode(&der)).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn an_agent_that_dies_before_it_orders_costs_no_order() {
    let orders = orders_when_killed(Call::Authority("newOrder"), Moment::Before).await;
    assert_eq!(orders, 1);
}

#[tokio::test]
async fn an_agent_that_dies_before_it_tells_of_its_order_costs_that_one() {
    let orders = orders_when_killed(Call::Authority("newOrder"), Moment::After).await;
    assert_eq!(orders, 2);
}

#[tokio::test]
async fn the_order_of_an_agent_that_died_is_gone_on_with() {
    let orders = orders_when_killed(Call::Control("ordered"), Moment::After).await;
    assert_eq!(orders, 1);
}

#[tokio::test]
async fn what_the_ca_has_validated_stays_so_when_the_agent_dies() {
    let orders = orders_when_killed(Call::Authority("order"), Moment::Before).await;
    assert_eq!(orders, 1);
}

#[tokio::test]
async fn an_agent_that_dies_while_the_ca_validates_costs_one_order_at_most() {
    // The CA may come to the node that is dead.
    let orders = orders_when_killed(Call::Authority("challenge"), Moment::After).await;
    assert!((1..=2).contains(&orders), "{orders}");
}

#[tokio::test]
async fn an_agent_that_dies_with_its_key_costs_one_order_more() {
    let orders = orders_when_killed(Call::Authority("finalize"), Moment::After).await;
    assert_eq!(orders, 2);
}

#[tokio::test]
async fn a_certificate_that_is_not_handed_over_is_ordered_once_more() {
    let orders = orders_when_killed(Call::Control("issued"), Moment::Before).await;
    assert_eq!(orders, 2);
}

#[tokio::test]
async fn a_certificate_that_is_handed_over_is_served_though_its_agent_never_hears_so() {
    let orders = orders_when_killed(Call::Control("issued"), Moment::After).await;
    assert_eq!(orders, 1);
}
