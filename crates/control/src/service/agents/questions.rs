//! When CAs want certificates renewed: who asks them, and what follows.

use std::time::Instant;

use landfall_issuance::protocol::{RenewalQuestion, RenewalReport, Task};
use landfall_model::issuance::RenewalAdvice;
use time::{Duration, OffsetDateTime};

use super::Service;
use crate::{
    call::Call,
    rate::Verdict,
    service::ServiceError,
    store::{
        self, Change,
        renewal::{Renewable, Timetable},
    },
    token::PopId,
};

/// The most questions that one agent gets at once.
const AT_ONCE: u32 = 16;
/// How long an agent has to answer before another one is asked, and how long a CA is left alone that
/// could not be asked.
const ANSWERED_WITHIN: Duration = Duration::minutes(10);
const TROUBLE: Duration = Duration::hours(1);
/// The longest URL where a CA explains itself.
const MAX_EXPLANATION: usize = 512;

impl Service {
    /// At most `limit` questions that are due, which nobody else gets for a while.
    pub(super) async fn questions(
        &self,
        change: &mut Change,
        (pop, limit): (PopId, u32),
    ) -> Result<Vec<Task>, ServiceError> {
        let now = change.now();
        let mut tasks = Vec::new();
        for due in store::renewal::to_ask(change.on(), now, limit.min(AT_ONCE)).await? {
            if let Verdict::Refused { .. } = self.agents.questions.take((), Instant::now()) {
                break;
            }
            store::renewal::put_off(change.on(), &due, (now + ANSWERED_WITHIN, Some(pop))).await?;
            let (Some(authority), Some(certificate)) =
                (self.authorities.find(&due.authority), due.ari_id)
            else {
                continue;
            };
            let authority = authority.described(&due.authority, None);
            let question = RenewalQuestion { hostname: due.hostname, certificate, authority };
            tasks.push(Task::AskRenewal(Box::new(question)));
        }
        Ok(tasks)
    }

    /// Keeps what a CA said of a certificate's renewal, once, by the PoP whose agent was to ask it. One that
    /// it wants renewed by now is asked for.
    pub(crate) async fn keep_renewal(
        &self,
        pop: PopId,
        report: RenewalReport,
        now: OffsetDateTime,
    ) -> Result<(), ServiceError> {
        let mut change = self.store.change(Call::system(now)).await?;
        let of_hostname = store::renewal::of(change.on(), report.hostname).await?;
        let is_meant = |own: &Renewable| {
            own.ari_id.as_ref() == Some(&report.certificate)
                && own.asked.is_some_and(|(asked, until)| asked == pop && now < until)
        };
        let Some(mut own) = of_hostname.into_iter().find(is_meant) else { return Ok(()) };
        let result = if let Some(trouble) = &report.trouble {
            let (authority, hostname) = (&own.authority, own.hostname.0);
            tracing::debug!(%authority, hostname, ?trouble, "a CA could not be asked about a renewal");
            store::renewal::put_off(change.on(), &own, (now + TROUBLE, None)).await?;
            "failed"
        } else {
            own.advice = report.advice.map(shown);
            own.polled_at = Some(now);
            let served = own.as_served();
            let times = Timetable {
                renew_at: served.renew_at().max(served.settled_at()),
                urgent_at: served.urgent_at(),
                poll_at: served.poll_at(now, Some(now)),
            };
            store::renewal::keep(change.on(), &own, times).await?;
            if own.advice.is_some() { "advised" } else { "no_advice" }
        };
        change.commit().await?;
        self.agents.metrics.questions.with_label_values(&[own.authority.as_str(), result]).inc();
        Ok(())
    }
}

/// What a CA said, as it may be kept: without an explanation that is no URL.
pub(super) fn shown(advice: RenewalAdvice) -> RenewalAdvice {
    let is_url = |url: &String| {
        (url.starts_with("https://") || url.starts_with("http://"))
            && url.len() <= MAX_EXPLANATION
            && url.bytes().all(|byte| byte.is_ascii_graphic())
    };
    RenewalAdvice { explanation: advice.explanation.filter(is_url), ..advice }
}
