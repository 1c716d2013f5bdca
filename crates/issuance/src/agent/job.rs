//! What is done with each kind of task.

use std::sync::Arc;

use landfall_dns::Verifier;
use landfall_model::{HostnameId, issuance::Assignment};
use time::{Duration, OffsetDateTime};
use tokio::time::Instant;

use super::{
    AgentSettings,
    issue::Issue,
    lease::{Lease, Stop},
    metrics::{AgentMetrics, Outcome},
    probe::Prober,
    surroundings::{ControlPlane, Vault},
};
use crate::{
    acme::{CertificateId, Connector},
    failure::{Setting, classify},
    protocol::{News, RenewalQuestion, RenewalReport, Task, Work},
};

/// What all jobs share.
pub(super) struct Shop<C, V> {
    pub(super) control: C,
    pub(super) vault: V,
    pub(super) verifier: Verifier,
    pub(super) connector: Connector,
    pub(super) prober: Prober,
    pub(super) settings: AgentSettings,
    pub(super) metrics: Arc<AgentMetrics>,
}

impl<C: ControlPlane, V: Vault> Shop<C, V> {
    /// Does a task that was leased by the request sent at `asked`, by a control plane whose clock is
    /// `ahead` of ours.
    pub(super) async fn run(&self, task: Task, (asked, ahead): (Instant, Duration)) {
        match task {
            Task::Issue(job) => self.issue(&job, (asked, ahead)).await,
            Task::Revoke(errand) => self.revoke(&errand, asked).await,
            Task::ReplaceKey(errand) => self.replace_key(&errand, asked).await,
            Task::UpdateAccount(errand) => self.update_account(&errand, asked).await,
            Task::AskRenewal(question) => self.ask(*question).await,
            // Its lease runs out.
            Task::Unknown => tracing::debug!("a task that this version knows nothing of"),
        }
    }

    async fn issue(&self, job: &Assignment, (asked, control_ahead): (Instant, Duration)) {
        let Some(hostname) = job.names.first() else { return };
        let begun = Instant::now();
        let authority = &job.authority.name;
        tracing::info!(%hostname, job = job.job.0, %authority, "a certificate job begins");
        let lease =
            Lease::new(&self.control, (Work::Job, job.job, job.fence), job.lease_seconds, asked);
        let issue = Issue { shop: self, job, lease: &lease, control_ahead };
        let done = tokio::select! {
            biased;
            done = issue.run() => done,
            Err(stop) = lease.keep() => Err(stop),
        };
        let done = match done {
            Ok(issued) => lease.end(issued).await,
            Err(stop) => Err(stop),
        };
        let pops = job.pops.iter().chain(&job.stalled_pops).chain(&job.inactive_pops);
        let addresses: Vec<_> = pops.flat_map(|pop| pop.addresses.iter().copied()).collect();
        let setting = Setting {
            now: OffsetDateTime::now_utc(),
            authority,
            caa_identity: None,
            name: hostname,
            addresses: &addresses,
        };
        let outcome = match done.map(drop) {
            Ok(()) => Outcome::Done,
            Err(stop) => self.give_up(&lease, stop, &setting).await,
        };
        self.metrics.came_to(authority, outcome, begun.elapsed());
        tracing::info!(
            %hostname, job = job.job.0, %authority, ?outcome,
            seconds = begun.elapsed().as_secs_f64(), "a certificate job ends here"
        );
    }

    /// Says why a job goes no further.
    async fn give_up(&self, lease: &Lease<'_, C>, stop: Stop, setting: &Setting<'_>) -> Outcome {
        let trouble = match stop {
            Stop::Lost => return Outcome::Lost,
            Stop::Rests => return Outcome::Rests,
            Stop::Trouble(trouble) => *trouble,
        };
        let failure = classify(&trouble, setting);
        self.metrics.failed(setting.authority, failure.class);
        let words = failure.words.as_ref().map(ToString::to_string);
        tracing::info!(
            hostname = %setting.name, authority = %setting.authority, class = failure.class.name(),
            words, "a certificate job failed"
        );
        match lease.end(News::Failed { trouble }).await {
            Ok(_) => Outcome::Failed,
            Err(_) => Outcome::Lost,
        }
    }

    async fn ask(&self, question: RenewalQuestion) {
        let RenewalQuestion { hostname, certificate, authority } = question;
        let asked = match certificate.parse::<CertificateId>() {
            Ok(id) => match self.connector.connect(&authority).await {
                Ok(connection) => connection.renewal_advice(&id).await,
                Err(error) => Err(error),
            },
            Err(_) => Ok(None),
        };
        let (advice, trouble) = match asked {
            Ok(advice) => (advice, None),
            Err(error) => (None, Some(error.trouble())),
        };
        self.metrics.asked(&authority.name, trouble.as_ref());
        self.tell(RenewalReport { hostname, certificate, advice, trouble }, hostname).await;
    }

    /// What is not heard is asked again some time.
    async fn tell(&self, report: RenewalReport, hostname: HostnameId) {
        if let Err(error) = self.control.renewal(&report).await {
            tracing::debug!(?hostname, %error, "a renewal report was not heard");
        }
    }
}
