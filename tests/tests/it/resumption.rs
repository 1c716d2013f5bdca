//! TLS sessions across the edges of a fleet, their restarts, and the loss of the control plane.

use std::time::{SystemTime, UNIX_EPOCH};

use landfall_model::{ClientAuth, ClientAuthMode, Der, TlsPolicy};
use landfall_tests::{
    DEADLINE, Issued, Lab, Origin, Recorder, Said, ScriptedFeed, tools, wait_until,
};

const VERSIONS: [&str; 2] = ["-tls1_3", "-tls1_2"];
const HOUR: u64 = 3_600;

/// Two edges that poll one scripted feed and serve `a.example`.
struct Fleet {
    feed: ScriptedFeed,
    lab: Lab,
    recorder: Recorder,
    _origin: Origin,
}

impl Fleet {
    async fn start() -> Self {
        let origin = Origin::start("origin").await;
        let feed = ScriptedFeed::start().await;
        let mut lab = Lab::builder()
            .edges(2)
            .edge_setting("feed.url", feed.url())
            .edge_setting("feed.signing_keys", vec![feed.signing_key()])
            .edge_setting("feed.wait", "1s")
            .prepare()
            .await;
        let recorder = Recorder::new(&lab.folder().join("keys"), origin.address());
        feed.put(&recorder.hostname("a.example", &Issued::new("a.example")));
        for number in 0..2 {
            lab.edge(number).start();
            lab.wait_until_edge_is_ready(number).await;
        }
        Self { feed, lab, recorder, _origin: origin }
    }

    /// Puts a ticket secret from `starts` to `ends`, and waits until both edges hold `count`.
    async fn put_secret(&self, starts: u64, ends: u64, byte: u8, count: f64) {
        self.feed.put_tickets(&self.recorder.tickets(starts, ends, &[byte; 32]));
        for edge in 0..2 {
            self.wait_for_secrets(edge, count).await;
        }
    }

    async fn wait_for_secrets(&self, edge: usize, count: f64) {
        let what = format!("edge {edge} holds {count} ticket secrets");
        wait_until(&what, DEADLINE, async || {
            (self.lab.metric(edge, "landfall_ticket_secrets", "").await? == count).then_some(())
        })
        .await;
    }

    /// What openssl says of a request, whose answer it waits for.
    async fn request(&self, edge: usize, name: &str, args: &[&str]) -> String {
        let connect = self.lab.https(edge).to_string();
        let own = ["s_client", "-connect", &connect, "-servername", name, "-ign_eof"];
        let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        let said = tools::run_with_input("openssl", &[&own, args].concat(), &request).await.all();
        assert!(said.contains("HTTP/1.1 200 OK"), "{said}");
        said
    }

    /// Begins a session at an edge, and keeps it under a name for each version.
    async fn begin(&self, edge: usize, name: &str, version: &str) {
        let file = self.file(version);
        let said = self.request(edge, name, &[version, "-sess_out", &file]).await;
        assert!(said.contains("\nNew, TLSv1."), "{said}");
    }

    /// Whether the session that was begun resumes.
    async fn resumes(&self, edge: usize, name: &str, version: &str) -> bool {
        let file = self.file(version);
        let said = self.request(edge, name, &[version, "-sess_in", &file]).await;
        assert!(said.contains("\nNew, ") || said.contains("\nReused, "), "{said}");
        said.contains("\nReused, TLSv1.")
    }

    fn file(&self, version: &str) -> String {
        self.lab.folder().join(format!("session{version}.pem")).to_str().unwrap().to_owned()
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn a_session_resumes_at_another_edge_and_after_a_restart_without_a_control_plane() {
    let mut fleet = Fleet::start().await;
    fleet.put_secret(now() - HOUR, now() + HOUR, 1, 1.0).await;
    for version in VERSIONS {
        fleet.begin(0, "a.example", version).await;
        assert!(fleet.resumes(0, "a.example", version).await, "{version}");
        assert!(fleet.resumes(1, "a.example", version).await, "{version}");
    }
    for edge in 0..2 {
        let counted = fleet.lab.metric(edge, "landfall_handshakes_resumed_total", "").await;
        assert_eq!(counted, Some(2.0), "edge {edge}");
    }
    fleet.feed.say([Said::Silence]);
    fleet.lab.edge(0).kill().await;
    fleet.lab.edge(0).start();
    fleet.lab.wait_until_edge_is_ready(0).await;
    for version in VERSIONS {
        assert!(fleet.resumes(0, "a.example", version).await, "{version}");
    }
}

#[tokio::test]
async fn a_session_is_refused_once_the_time_of_its_secret_is_over() {
    let fleet = Fleet::start().await;
    fleet.put_secret(now() - HOUR, now() + HOUR, 1, 1.0).await;
    fleet.begin(0, "a.example", "-tls1_3").await;
    // The newest one is what tickets are made with: for ten seconds, and taken for twelve more.
    let start = now() - 2;
    fleet.put_secret(start, start + 12, 2, 2.0).await;
    fleet.begin(0, "a.example", "-tls1_2").await;
    for version in VERSIONS {
        assert!(fleet.resumes(1, "a.example", version).await, "{version}");
    }
    wait_until("tickets of the second are refused", DEADLINE, async || {
        (!fleet.resumes(1, "a.example", "-tls1_2").await).then_some(())
    })
    .await;
    assert!(now() >= start + 24, "{} s too early", start + 24 - now());
    assert!(fleet.resumes(1, "a.example", "-tls1_3").await);
    for edge in 0..2 {
        fleet.wait_for_secrets(edge, 1.0).await;
    }
}

#[tokio::test]
async fn a_secret_that_is_withdrawn_or_does_not_open_resumes_nothing() {
    let fleet = Fleet::start().await;
    let starts = now() - HOUR;
    fleet.put_secret(starts, now() + HOUR, 1, 1.0).await;
    for version in VERSIONS {
        fleet.begin(0, "a.example", version).await;
    }
    // Sealed for other times than it says.
    let mut moved = fleet.recorder.tickets(starts, now() + HOUR, &[1; 32]);
    moved.ends += 1;
    moved.starts += 1;
    let short = fleet.recorder.tickets(starts + 2, now() + HOUR, &[1; 31]);
    fleet.feed.put_tickets(&moved);
    fleet.feed.put_tickets(&short);
    for (reason, edge) in [("unseal", 0), ("ticket_secret", 0), ("unseal", 1), ("ticket_secret", 1)]
    {
        let labels = format!("reason=\"{reason}\"");
        wait_until(&format!("edge {edge} rejects it for {reason}"), DEADLINE, async || {
            let name = "landfall_feed_records_rejected_total";
            (fleet.lab.metric(edge, name, &labels).await? >= 1.0).then_some(())
        })
        .await;
    }
    fleet.wait_for_secrets(0, 1.0).await;
    assert!(fleet.resumes(1, "a.example", "-tls1_3").await);
    fleet.feed.remove_tickets(starts);
    for edge in 0..2 {
        fleet.wait_for_secrets(edge, 0.0).await;
        for version in VERSIONS {
            assert!(!fleet.resumes(edge, "a.example", version).await, "{edge} {version}");
        }
    }
}

#[tokio::test]
async fn client_authorities_that_cannot_be_used_quarantine_their_hostname_alone() {
    let fleet = Fleet::start().await;
    let mut record = fleet.recorder.hostname("a.example", &Issued::new("a.example"));
    let ca = vec![Der(b"no certificate".to_vec())];
    let mode = ClientAuthMode::Required;
    record.tls = TlsPolicy { client_auth: Some(ClientAuth { mode, ca }), ..TlsPolicy::default() };
    fleet.feed.put(&record);
    fleet.feed.put(&fleet.recorder.hostname("b.example", &Issued::new("b.example")));
    wait_until("b.example is served", DEADLINE, async || {
        let served = fleet.lab.metric(0, "landfall_store_hostnames", "").await?;
        (served == 2.0).then_some(())
    })
    .await;
    fleet.request(0, "b.example", &[]).await;
    fleet.request(0, "a.example", &[]).await;
    let rejected = "landfall_feed_records_rejected_total";
    assert_eq!(fleet.lab.metric(0, rejected, "reason=\"policy\"").await, Some(1.0));
    assert_eq!(fleet.lab.metric(0, "landfall_feed_quarantined_records", "").await, Some(1.0));
}
