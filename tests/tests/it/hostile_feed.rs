//! A feed that lies, or that has bad records among good ones: what is served stays served.

use landfall_feed::{
    page::Shrink,
    record::{MAX_RECORD_LEN, WireRecord, encode_record},
    sign::SigningKey,
};
use landfall_model::{Epoch, Revision};
use landfall_tests::{
    DEADLINE, Issued, Lab, Origin, Recorder, Said, ScriptedFeed, tools, wait_until,
};

/// An edge that polls a scripted feed and serves `kept.example`.
struct Hostile {
    feed: ScriptedFeed,
    lab: Lab,
    recorder: Recorder,
    kept: Issued,
    _origin: Origin,
}

impl Hostile {
    async fn start() -> Self {
        let origin = Origin::start("origin").await;
        let feed = ScriptedFeed::start().await;
        let mut lab = Lab::builder()
            .edge_setting("feed.url", feed.url())
            .edge_setting("feed.signing_keys", vec![feed.signing_key()])
            .edge_setting("feed.wait", "1s")
            .prepare()
            .await;
        let recorder = Recorder::new(&lab.folder().join("keys"), origin.address());
        let kept = Issued::new("kept.example");
        feed.put(&recorder.hostname("kept.example", &kept));
        lab.edge(0).start();
        lab.wait_until_edge_is_ready(0).await;
        let hostile = Self { feed, lab, recorder, kept, _origin: origin };
        hostile.wait_until_served("kept.example", &hostile.kept).await;
        hostile
    }

    /// The SHA-256 fingerprint of what the edge presents, as openssl sees it.
    async fn presented(&self, hostname: &str) -> Option<String> {
        let connect = self.lab.https(0).to_string();
        let command = format!(
            "openssl s_client -connect {connect} -servername {hostname} </dev/null 2>/dev/null \
             | openssl x509 -noout -fingerprint -sha256"
        );
        let ran = tools::run("sh", &["-c", &command]).await;
        ran.stdout.trim().rsplit('=').next().filter(|text| !text.is_empty()).map(str::to_owned)
    }

    async fn wait_until_served(&self, hostname: &str, issued: &Issued) {
        let what = format!("{hostname} is served with its certificate");
        wait_until(&what, DEADLINE, async || {
            (self.presented(hostname).await? == issued.fingerprint()).then_some(())
        })
        .await;
        let (address, url) = (self.lab.https(0), self.lab.https(0).port());
        let resolve = format!("{hostname}:{url}:{}", address.ip());
        let url = format!("https://{hostname}:{url}/");
        let ran = tools::run("curl", &["-skS", "--resolve", &resolve, &url]).await;
        assert_eq!(ran.expect_success(), "origin");
    }

    async fn wait_for_metric(&self, name: &str, labels: &str, at_least: f64) {
        let what = format!("{name}{{{labels}}} is at least {at_least}");
        wait_until(&what, DEADLINE, async || {
            (self.lab.metric(0, name, labels).await? >= at_least).then_some(())
        })
        .await;
    }

    async fn pages_refused_for(&self, reason: &str) {
        let labels = format!("reason=\"{reason}\"");
        self.wait_for_metric("landfall_feed_pages_rejected_total", &labels, 1.0).await;
        assert_eq!(self.presented("kept.example").await, Some(self.kept.fingerprint()), "{reason}");
    }

    /// A good record gets through once the feed is honest again.
    async fn recovers_with(&self, hostname: &str) {
        let issued = Issued::new(hostname);
        self.feed.be_honest();
        self.feed.put(&self.recorder.hostname(hostname, &issued));
        self.wait_until_served(hostname, &issued).await;
        self.wait_until_served("kept.example", &self.kept).await;
    }
}

#[tokio::test]
async fn refuses_pages_that_are_forged_rolled_back_cut_or_blown_up_and_serves_on() {
    let hostile = Hostile::start().await;
    let (epoch, at) = hostile.feed.position();
    let next = Revision(at.0 + 1);
    let replacement = hostile.recorder.hostname("kept.example", &Issued::new("kept.example"));
    let replacement = encode_record(&WireRecord::hostname(next, &replacement));
    let records = [replacement];
    let other = SigningKey::parse(&SigningKey::generate().unwrap()).unwrap();
    let forged = |epoch, range| hostile.feed.forged_page(epoch, range, &records);
    let truncated = {
        let page = forged(epoch, (at, next));
        page[..page.len() / 2].to_vec()
    };
    let bomb = hostile.feed.forged_page(epoch, (at, next), &vec![vec![0; 60_000]; 2_000]);
    assert!(bomb.len() < 1_000_000, "a bomb is small on the wire: {}", bomb.len());
    let cases = [
        ("signature", hostile.feed.page(Revision(0), Some(&other))),
        ("epoch_rollback", forged(Epoch(epoch.0 - 1), (at, next))),
        ("revision_rollback", forged(epoch, (Revision(0), at))),
        ("malformed", truncated),
        ("too_large", bomb),
    ];
    for (reason, page) in cases {
        hostile.feed.say([Said::Bytes(page)]);
        hostile.pages_refused_for(reason).await;
    }
    let readyz = hostile.lab.read_admin(0, "/readyz").await.unwrap();
    assert_eq!(readyz.status, 200);
    assert!(readyz.text.contains("last error: "), "{}", readyz.text);
    hostile.recovers_with("after.example").await;
}

fn huge(revision: Revision) -> Vec<u8> {
    let mut wire = WireRecord::tombstone("hostname/huge.example".into(), revision, "hostname");
    wire.body = vec![0; MAX_RECORD_LEN];
    encode_record(&wire)
}

fn from_the_future(_: Revision) -> Vec<u8> {
    let (id, revision) = ("hostname/kept.example".into(), Revision(u64::MAX));
    encode_record(&WireRecord::tombstone(id, revision, "hostname"))
}

fn badly_named(revision: Revision) -> Vec<u8> {
    let name = "\u{1}bad.example";
    let mut wire = WireRecord::tombstone(format!("hostname/{name}"), revision, "hostname");
    wire.deleted = false;
    // A CBOR map of one text: {"name": …}.
    wire.body = [&[0xa1, 0x64][..], b"name", &[0x60 + name.len() as u8], name.as_bytes()].concat();
    encode_record(&wire)
}

#[tokio::test]
async fn quarantines_each_bad_record_and_applies_the_rest_of_its_page() {
    let hostile = Hostile::start().await;
    let good = Issued::new("good.example");
    let good_record = hostile.recorder.hostname("good.example", &good);
    let mismatched = Issued::new("kept.example").with_key_of(Issued::new("kept.example"));
    let mismatched = hostile.recorder.hostname("kept.example", &mismatched);
    let expired = hostile.recorder.hostname("old.example", &Issued::expired("old.example"));
    let other_name = hostile.recorder.hostname("a.example", &Issued::new("b.example"));
    hostile.feed.put_raw(vec![
        Box::new(huge),
        Box::new(|_| b"no record at all".to_vec()),
        Box::new(from_the_future),
        Box::new(badly_named),
        Box::new(move |at| encode_record(&WireRecord::hostname(at, &mismatched))),
        Box::new(move |at| encode_record(&WireRecord::hostname(at, &expired))),
        Box::new(move |at| encode_record(&WireRecord::hostname(at, &other_name))),
        Box::new(move |at| encode_record(&WireRecord::hostname(at, &good_record))),
    ]);

    hostile.wait_until_served("good.example", &good).await;
    hostile.wait_until_served("kept.example", &hostile.kept).await;
    let reasons = [
        "oversized",
        "malformed",
        "revision",
        "invalid_name",
        "key_mismatch",
        "certificate_expired",
        "certificate_name",
    ];
    for reason in reasons {
        let labels = format!("reason=\"{reason}\"");
        hostile.wait_for_metric("landfall_feed_records_rejected_total", &labels, 1.0).await;
    }
    for refused in ["old.example", "a.example"] {
        assert_eq!(hostile.presented(refused).await, None, "{refused}");
    }
    let what = "the edge says which records it could not use";
    let ack = wait_until(what, DEADLINE, async || {
        let ack = hostile.feed.acks().pop()?;
        (ack.applied == hostile.feed.position().1 && ack.rejected.len() >= 4).then_some(ack)
    })
    .await;
    let kept = ack.rejected.iter().find(|own| own.id == "hostname/kept.example").unwrap();
    assert!(kept.reason.contains("does not match"), "{}", kept.reason);
    hostile.recovers_with("after.example").await;
}

#[tokio::test]
async fn refuses_a_snapshot_that_drops_more_than_a_tenth_unless_its_header_allows_it() {
    let hostile = Hostile::start().await;
    for n in 0..9 {
        let name = format!("h{n}.example");
        hostile.feed.put(&hostile.recorder.hostname(&name, &Issued::new(&name)));
    }
    hostile.wait_for_metric("landfall_store_hostnames", "", 10.0).await;
    hostile.feed.forget_everything();
    let only = Issued::new("only.example");
    hostile.feed.put(&hostile.recorder.hostname("only.example", &only));

    hostile.pages_refused_for("shrink").await;

    hostile.feed.set_shrink(Shrink::Allowed);
    hostile.wait_until_served("only.example", &only).await;
    let what = "the dropped hostname is refused";
    wait_until(what, DEADLINE, async || {
        hostile.presented("kept.example").await.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn refuses_a_snapshot_of_as_many_other_hostnames() {
    let hostile = Hostile::start().await;
    hostile.feed.forget_everything();
    hostile.feed.put(&hostile.recorder.hostname("other.example", &Issued::new("other.example")));
    hostile.pages_refused_for("shrink").await;
    assert_eq!(hostile.presented("other.example").await, None);
}

#[tokio::test]
async fn refuses_a_snapshot_of_an_older_epoch() {
    let hostile = Hostile::start().await;
    hostile.feed.roll_epoch_back(1);
    hostile.pages_refused_for("epoch_rollback").await;
    hostile.wait_until_served("kept.example", &hostile.kept).await;
}

#[tokio::test]
async fn starts_and_serves_what_it_last_knew_whatever_the_control_plane_answers() {
    let mut hostile = Hostile::start().await;
    let garbage = b"<html>It works!</html>".to_vec();
    let answers = [Said::Status(500), Said::Bytes(garbage), Said::Bytes(Vec::new()), Said::Silence];
    for answer in answers {
        hostile.feed.say([answer.clone()]);
        hostile.lab.edge(0).kill().await;
        hostile.lab.edge(0).start();
        hostile.lab.wait_until_edge_is_ready(0).await;
        hostile.wait_until_served("kept.example", &hostile.kept).await;
        let readyz = hostile.lab.read_admin(0, "/readyz").await.unwrap().text;
        assert!(readyz.contains("last-known-good"), "{answer:?}: {readyz}");
        hostile.wait_for_metric("landfall_feed_lag_seconds", "", 0.0).await;
    }
    hostile.recovers_with("after.example").await;
}

#[tokio::test]
async fn a_control_plane_that_has_lost_certificates_takes_none_from_what_is_served() {
    let hostile = Hostile::start().await;
    let mut lost = hostile.recorder.hostname("kept.example", &hostile.kept);
    lost.certificates.clear();

    hostile.feed.forget_everything();
    hostile.feed.put(&lost);
    hostile.wait_for_metric("landfall_feed_snapshots_applied_total", "", 2.0).await;
    hostile.wait_until_served("kept.example", &hostile.kept).await;

    let next = Issued::new("kept.example");
    hostile.feed.put(&hostile.recorder.hostname("kept.example", &next));
    hostile.wait_until_served("kept.example", &next).await;
}
