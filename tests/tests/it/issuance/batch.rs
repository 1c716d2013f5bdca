//! Many hostnames at once, while others are served.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use landfall_tests::{CUSTOMER_ZONE, Fleet, Origin};
use reqwest::{Client, Method};
use serde_json::json;

/// How many hostnames are activated, unless `LANDFALL_TEST_HOSTNAMES` says otherwise.
const HOSTNAMES: usize = 60;
/// For all of them to be served.
const PATIENCE: Duration = Duration::from_secs(600);
/// Those that are served before and meanwhile.
const OTHERS: [&str; 3] = ["one.customer.test", "two.customer.test", "three.customer.test"];

/// Asks an edge for a hostname, on a new connection each time, until told to stop. Every answer is the
/// origin's.
async fn load(client: &Client, url: &str, stop: &AtomicBool, answered: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let answer = client.get(url).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{url}");
        assert_eq!(answer.text().await.expect("a body"), "shop", "{url}");
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// When each hostname was first served by every edge.
async fn first_served(
    clients: &[Client],
    fleet: &Fleet,
    names: &[String],
) -> BTreeMap<String, Instant> {
    let mut missing: Vec<&String> = names.iter().collect();
    let mut served = BTreeMap::new();
    let started = Instant::now();
    while !missing.is_empty() {
        assert!(started.elapsed() < PATIENCE, "{} are not served: {missing:?}", missing.len());
        let mut left = Vec::new();
        for name in missing {
            let mut everywhere = true;
            for (edge, client) in clients.iter().enumerate() {
                let answer = client.head(fleet.url(edge, name)).send().await;
                everywhere &= answer.is_ok_and(|answer| answer.status() == 200);
                if !everywhere {
                    break;
                }
            }
            if everywhere {
                served.insert(name.clone(), Instant::now());
            } else {
                left.push(name);
            }
        }
        missing = left;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    served
}

fn median_and_worst(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() - 1])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostnames_that_are_activated_at_once_are_all_served_and_no_request_of_others_fails() {
    let wanted = std::env::var("LANDFALL_TEST_HOSTNAMES");
    let count = wanted.map_or(HOSTNAMES, |count| count.parse().expect("a number"));
    let origin = Origin::start("shop").await;
    let mut fleet = Fleet::start(3).await;
    fleet.dns.set(CUSTOMER_ZONE, "* CNAME shop.edge.test.").await;
    let api = fleet.lab.api();
    let property = api.create_property("shop", origin.address()).await;
    for name in OTHERS {
        api.add_hostname(property, name).await;
    }
    for name in OTHERS {
        fleet.wait_until_served_everywhere(name, "shop").await;
    }
    let root = fleet.pebble.root(0).await;
    let clients: Vec<Client> = (0..fleet.edges())
        .map(|edge| fleet.client(edge, &root).pool_max_idle_per_host(0).build().unwrap())
        .collect();
    let names: Vec<String> = (0..count).map(|number| format!("n{number}.customer.test")).collect();
    let lines: String = names.iter().map(|name| format!("{}\n", json!({"name": name}))).collect();
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let urls: Vec<String> =
        OTHERS.iter().enumerate().map(|(at, name)| fleet.url(at, name)).collect();
    let issued = fleet.pebble.log().matches("Issued certificate").count();

    let activating = async {
        let path = format!("/api/Property/{property}/hostname/import");
        let added = Instant::now();
        let kind = "application/x-ndjson";
        let answer = api.send_body(Method::POST, &path, kind, lines).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let served = first_served(&clients, &fleet, &names).await;
        let times = served.values().map(|at| at.duration_since(added)).collect();
        let (median, worst) = median_and_worst(times);
        eprintln!(
            "{count} hostnames: from the import to served by three PoPs, median {median:.1?}, worst {worst:.1?}"
        );
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(
        load(&clients[0], &urls[0], &stop, &answered),
        load(&clients[1], &urls[1], &stop, &answered),
        load(&clients[2], &urls[2], &stop, &answered),
        activating,
    );

    let requests = answered.load(Ordering::Relaxed);
    eprintln!("{requests} requests of others meanwhile, no failure");
    assert!(requests > 100);
    let orders = fleet.pebble.log().matches("Issued certificate").count() - issued;
    assert_eq!(orders, count, "one certificate for each");
}
