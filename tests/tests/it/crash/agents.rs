//! Agents that lease jobs, say this and that of them, and forget some. No CA is behind them.

use std::{fs, sync::Arc};

use landfall_feed::seal::{GroupPublicKey, sha256};
use landfall_model::{
    AuthorityName, HostPattern, SealContext,
    issuance::{IssuedCertificate, SealedName},
};
use landfall_tests::{Answer, Issued, Lab};
use reqwest::Client;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::load::Dice;

/// The CA that they say they ask.
pub(crate) const AUTHORITY: &str = "scripted";
/// Of a key that nobody has.
const THUMBPRINT: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What agents have in common.
pub(crate) struct Agents {
    base: String,
    token: String,
    group: GroupPublicKey,
    client: Client,
}

impl Agents {
    /// Of the lab's first PoP.
    pub(crate) fn of(lab: &Lab) -> Arc<Self> {
        let read = |file: &str| fs::read_to_string(lab.folder().join(file)).unwrap();
        Arc::new(Self {
            base: format!("http://{}", lab.control_address()),
            token: read("edge0.token").trim().to_owned(),
            group: GroupPublicKey::parse(&read("keys/group.pub")).unwrap(),
            client: Client::builder().no_proxy().build().unwrap(),
        })
    }

    /// Does jobs until nobody answers any more.
    pub(crate) async fn work(self: Arc<Self>, mut dice: Dice) {
        while self.work_once(&mut dice).await.is_some() {}
    }

    async fn work_once(&self, dice: &mut Dice) -> Option<()> {
        let request = json!({"agent": format!("a{}", dice.roll(1_000)), "free": 3, "wait": 1});
        let reply = self.post("/agent/v1/lease", &request).await?;
        for task in reply["tasks"].as_array()? {
            assert_eq!(task["task"], "issue");
            self.job(task, dice).await?;
        }
        Some(())
    }

    async fn job(&self, task: &Value, dice: &mut Dice) -> Option<()> {
        let account = json!({"key": self.account_key(), "thumbprint": THUMBPRINT});
        let url = "https://ca.test/account/1";
        let steps = [
            json!({"news": "account_made", "authority": AUTHORITY, "account": account}),
            json!({"news": "account_registered", "authority": AUTHORITY, "thumbprint": THUMBPRINT,
                "url": url}),
            json!({"news": "validating", "thumbprint": THUMBPRINT, "challenges": []}),
            json!({"news": "ordered", "url": "https://ca.test/order/1", "key_type": "ecdsa"}),
        ];
        let count = usize::try_from(dice.roll(5)).unwrap();
        for news in steps.into_iter().take(count) {
            self.report(task, news).await?;
        }
        let failed = |trouble| json!({"news": "failed", "trouble": trouble});
        let end = match dice.roll(8) {
            // It is forgotten.
            0 => return Some(()),
            1 => failed(json!({"trouble": "order_expired"})),
            2 => failed(json!({"trouble": "order_invalid", "detail": "nobody says why"})),
            3 => failed(json!({"trouble": "upload", "detail": "it was cut off"})),
            _ => self.issued(task),
        };
        // Some are said twice.
        for _ in 0..=dice.roll(2) {
            self.report(task, end.clone()).await?;
        }
        Some(())
    }

    fn account_key(&self) -> Value {
        let authority: AuthorityName = AUTHORITY.parse().unwrap();
        let context = SealContext::AccountKey { authority: &authority, thumbprint: THUMBPRINT };
        serde_json::to_value(self.group.seal(context, b"no key at all").unwrap()).unwrap()
    }

    /// A certificate for the first of the job's names: all of them where there is one.
    fn issued(&self, task: &Value) -> Value {
        let name: HostPattern = serde_json::from_value(task["names"][0].clone()).unwrap();
        let issued = Issued::by_a_ca(&name.to_string());
        let (_, parsed) = X509Certificate::from_der(&issued.leaf).unwrap();
        let spki_sha256 = &sha256(parsed.public_key().raw);
        let context = SealContext::PrivateKey { hostname: &name, spki_sha256 };
        let key = self.group.seal(context, issued.key_der()).unwrap();
        let certificate = IssuedCertificate {
            chain: vec![landfall_model::Der(issued.leaf.clone())],
            keys: vec![SealedName { name, key }],
            renewal: None,
        };
        json!({"news": "issued", "certificates": [certificate]})
    }

    async fn report(&self, task: &Value, news: Value) -> Option<Value> {
        let report = json!({"job": task["job"], "fence": task["fence"], "news": news});
        self.post("/agent/v1/report", &report).await
    }

    /// The answer's JSON; nothing once nobody answers.
    async fn post(&self, path: &str, body: &Value) -> Option<Value> {
        let request = self.client.post(format!("{}{path}", self.base)).bearer_auth(&self.token);
        let request = request.header("Content-Type", "application/json").body(body.to_string());
        let answer = Answer::read(request.send().await.ok()?).await.ok()?;
        assert!(matches!(answer.status, 200 | 503), "{path} {body}: {answer:?}");
        Some(answer.json())
    }
}
