//! Many hostnames at once, while others are served.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use landfall_tests::{CUSTOMER_ZONE, DEADLINE, Fleet, Origin, wait_until};
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

async fn is_served(clients: &[Client], fleet: &Fleet, name: &str) -> bool {
    for (edge, client) in clients.iter().enumerate() {
        let answer = client.head(fleet.url(edge, name)).send().await;
        if !answer.is_ok_and(|answer| answer.status() == 200) {
            return false;
        }
    }
    true
}

/// When each hostname was first served by every edge.
async fn first_served(
    clients: &[Client],
    fleet: &Fleet,
    names: &[String],
) -> BTreeMap<String, Instant> {
    let mut served = BTreeMap::new();
    wait_until("every edge serves every hostname", PATIENCE, async || {
        for name in names {
            if !served.contains_key(name) && is_served(clients, fleet, name).await {
                served.insert(name.clone(), Instant::now());
            }
        }
        (served.len() == names.len()).then_some(())
    })
    .await;
    served
}

/// The upper bounds of the histogram's buckets that half of the hostnames and all of them are in, in seconds,
/// and how many they are: from Active to the first handshake that showed their own certificate.
async fn seen_by_the_control_plane(fleet: &Fleet) -> (String, String, usize) {
    let url = format!("http://{}/metrics", fleet.lab.control_address());
    let metrics = reqwest::get(url).await.unwrap().text().await.unwrap();
    let name = "landfall_hostname_served_seconds_bucket{le=\"";
    let buckets: Vec<(&str, usize)> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.split_once("\"} "))
        .map(|(bound, count)| (bound, count.parse().unwrap()))
        .collect();
    let all = buckets.last().unwrap().1;
    let within = |count| buckets.iter().find(|bucket| bucket.1 >= count).unwrap().0.to_owned();
    (within(all.div_ceil(2)), within(all), all)
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
    fleet.set_zone(CUSTOMER_ZONE, "* CNAME shop.edge.test.").await;
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
    // The property's own hostname is one too.
    let all = count + OTHERS.len() + 1;
    let (median, worst) =
        wait_until("the control plane has seen all of them", DEADLINE, async || {
            let (median, worst, seen) = seen_by_the_control_plane(&fleet).await;
            (seen == all).then_some((median, worst))
        })
        .await;
    eprintln!(
        "by the control plane, from Active to served: median up to {median} s, worst up to {worst} s"
    );
    let orders = fleet.pebble.log().matches("Issued certificate").count() - issued;
    assert_eq!(orders, count, "one certificate for each");
}
