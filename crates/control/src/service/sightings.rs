//! Looks for certificates at the PoPs that should serve them, and keeps what was seen.

use std::{
    collections::{BTreeSet, HashMap},
    sync::PoisonError,
    time::Instant,
};

use futures_util::{StreamExt as _, stream};
use landfall_model::{HostPattern, Hostname, Revision};
use serde_json::json;
use time::OffsetDateTime;

use super::{Service, ServiceError};
use crate::{
    call::Call,
    hostname::deployment::Fleet,
    store::{
        self,
        event::EventKind,
        pop::Pop,
        sighting::{DueLook, Miss, Sighting},
    },
    token::random_number,
    watch::{
        Finding, Progress,
        handshake::{self, Sought},
        next_look,
        reach::Allowance,
    },
};

/// The most certificates that one round looks for.
const LOOKED_FOR: u32 = 256;
/// How long a certificate that no PoP has yet heard of keeps its turn.
const HEARD_WITHIN: time::Duration = time::Duration::seconds(5);
/// The most PoPs whose other findings are kept for a certificate.
const MISSES_KEPT: usize = 3;

/// How much there is left to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// More that is due now.
    More,
    /// More that is due now, for which PoPs have had enough handshakes in this second.
    MoreLater,
    /// Nothing that a PoP could show now.
    Nothing,
}

/// One certificate and what becomes of it in this round.
struct Look {
    due: DueLook,
    sought: Option<Sought>,
    /// The PoPs that are looked at now, by their places in the fleet.
    pops: Vec<usize>,
    findings: Vec<(usize, Finding)>,
    standing: Standing,
}

/// Why a certificate is looked for, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Looked,
    /// PoPs have had enough handshakes in this second.
    Paced,
    /// No PoP that answers has it yet.
    Unheard,
}

impl Service {
    /// Looks for certificates that are due, at most [`LOOKED_FOR`].
    ///
    /// # Errors
    /// Where the database fails.
    pub(crate) async fn look_at_pops(&self, now: OffsetDateTime) -> Result<Left, ServiceError> {
        let mut connection = self.store.read().await?;
        let fleet = self.fleet(&mut connection, now).await?;
        self.forget_pops(&fleet);
        if !fleet.active_pops().any(|pop| self.allowance(pop) != Allowance::None) {
            return Ok(Left::Nothing);
        }
        let due = store::sighting::due(&mut connection, now, LOOKED_FOR).await?;
        drop(connection);
        let is_full = due.len() >= LOOKED_FOR as usize;
        let mut tried = HashMap::new();
        let mut looks = Vec::with_capacity(due.len());
        for own in due {
            looks.push(self.plan_look(own, &fleet, &mut tried)?);
        }
        self.shake_hands(&mut looks, &fleet).await;
        let is_paced = looks.iter().any(|look| look.standing == Standing::Paced);
        let has_looked = looks.iter().any(|look| look.standing == Standing::Looked);
        let is_late = |look: &Look| {
            look.standing == Standing::Unheard && now - look.due.look_at >= HEARD_WITHIN
        };
        looks.retain(|look| look.standing == Standing::Looked || is_late(look));
        self.keep_looks(&looks, &fleet).await?;
        Ok(match (is_paced, is_full && (has_looked || !looks.is_empty())) {
            (true, _) => Left::MoreLater,
            (false, true) => Left::More,
            (false, false) => Left::Nothing,
        })
    }

    fn allowance(&self, pop: &Pop) -> Allowance {
        let reach = self.watch.reach.lock().unwrap_or_else(PoisonError::into_inner);
        reach.allowance(pop.id, Instant::now())
    }

    fn forget_pops(&self, fleet: &Fleet) {
        let pops: BTreeSet<_> = fleet.pops.iter().map(|pop| pop.id).collect();
        let mut reach = self.watch.reach.lock().unwrap_or_else(PoisonError::into_inner);
        reach.keep(&pops);
        let number = |pop: &Pop| i64::from(reach.is_silent(pop.id));
        let silent: Vec<_> =
            fleet.pops.iter().map(|pop| (pop.name.as_str(), number(pop))).collect();
        self.watch.metrics.show_pops(silent.into_iter());
    }

    /// Which PoPs are looked at for a certificate: one at first, so that it is soon known to be served,
    /// and then the others. `tried` counts the looks of this round at PoPs that did not answer lately.
    fn plan_look(
        &self,
        due: DueLook,
        fleet: &Fleet,
        tried: &mut HashMap<usize, u32>,
    ) -> Result<Look, ServiceError> {
        let unheard = |due| {
            let (pops, findings) = (Vec::new(), Vec::new());
            Look { due, sought: None, pops, findings, standing: Standing::Unheard }
        };
        let Some((name, revision)) = due.served.clone() else { return Ok(unheard(due)) };
        let mut fit = Vec::new();
        for (place, pop) in fleet.pops.iter().enumerate() {
            let is_due = fleet.is_active(pop)
                && has_heard(pop, fleet, revision)
                && !due.shown_by.contains(pop.id);
            let is_tried = tried.get(&place).is_some_and(|count| *count > 0);
            match self.allowance(pop) {
                Allowance::Any if is_due => fit.push(place),
                Allowance::One if is_due && !is_tried => fit.push(place),
                Allowance::Any | Allowance::One | Allowance::None => {}
            }
        }
        if fit.is_empty() {
            return Ok(unheard(due));
        }
        if due.shown_at.is_none() {
            let turn = u64::from(due.looks).wrapping_add_signed(due.hostname.0);
            let turn = usize::try_from(turn % fit.len() as u64).unwrap_or(0);
            fit = fit.get(turn).copied().into_iter().collect();
        }
        fit.retain(|place| {
            let pop = fleet.pops.get(*place);
            pop.is_some_and(|pop| self.watch.pace.take(pop.id, Instant::now()).is_admitted())
        });
        for place in &fit {
            *tried.entry(*place).or_default() += 1;
        }
        let standing = if fit.is_empty() { Standing::Paced } else { Standing::Looked };
        let sought = Sought {
            name: shown_name(&name)?,
            key_type: due.key_type,
            fingerprint: due.fingerprint,
            stand_in: due.stand_in,
        };
        Ok(Look { due, sought: Some(sought), pops: fit, findings: Vec::new(), standing })
    }

    async fn shake_hands(&self, looks: &mut [Look], fleet: &Fleet) {
        let config = self.watch.config;
        let mut handshakes = Vec::new();
        for (index, look) in looks.iter().enumerate() {
            let Some(sought) = &look.sought else { continue };
            for place in &look.pops {
                let Some(pop) = fleet.pops.get(*place) else { continue };
                let (addresses, sought) = (pop.addresses.clone(), sought.clone());
                handshakes.push(async move {
                    let target = (addresses.as_slice(), config.port);
                    (index, *place, handshake::look(target, &sought, config.timeout).await)
                });
            }
        }
        let at_once = usize::try_from(config.at_once).unwrap_or(1);
        let found: Vec<_> = stream::iter(handshakes).buffer_unordered(at_once).collect().await;
        let mut reach = self.watch.reach.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, place, finding) in found {
            self.watch.metrics.found(finding);
            if let Some(pop) = fleet.pops.get(place) {
                reach.note(pop.id, finding, Instant::now());
            }
            if let Some(look) = looks.get_mut(index) {
                look.findings.push((place, finding));
            }
        }
    }

    async fn keep_looks(&self, looks: &[Look], fleet: &Fleet) -> Result<(), ServiceError> {
        if looks.is_empty() {
            return Ok(());
        }
        // Handshakes take time: what was seen was seen now.
        let now = OffsetDateTime::now_utc();
        let mut change = self.store.change(Call::system(now)).await?;
        let mut first_times = Vec::new();
        for look in looks {
            let DueLook { hostname, fingerprint, .. } = look.due;
            let (mut shown_by, mut misses) = (look.due.shown_by.clone(), Vec::new());
            let mut first = None;
            for (place, finding) in &look.findings {
                let Some(pop) = fleet.pops.get(*place) else { continue };
                match finding {
                    Finding::Shown => {
                        shown_by.insert(pop.id);
                        first = first.or(Some(&pop.name));
                    }
                    Finding::OtherCertificate
                    | Finding::NameRefused
                    | Finding::Unreachable
                    | Finding::Failed => {
                        misses.push(Miss { pop: pop.name.clone(), finding: *finding });
                    }
                }
            }
            let progress = progress(look, fleet, &shown_by);
            let looks = if progress == Progress::Further { 0 } else { look.due.looks + 1 };
            misses.truncate(MISSES_KEPT);
            let seed = u64::from(random_number()?);
            let sighting = Sighting {
                shown_by: &shown_by,
                shown_at: look.due.shown_at.or(first.map(|_| now)),
                looks,
                look_at: next_look(now, (look.due.since, seed), progress, look.due.looks),
                misses: &misses,
            };
            let is_kept = store::sighting::keep(change.on(), &look.due, &sighting).await?;
            if let Some(pop) = first.filter(|_| is_kept && look.due.shown_at.is_none()) {
                let detail = json!({"fingerprint": fingerprint.to_string(), "pop": pop});
                change.event(hostname, EventKind::CertificateServed, &detail).await?;
                first_times.extend(store::sighting::mark_served(change.on(), hostname, now).await?);
            }
        }
        change.commit().await?;
        for milliseconds in first_times {
            self.watch.metrics.served_after(milliseconds as f64 / 1_000.0);
        }
        Ok(())
    }
}

/// How far the looks for a certificate have got once `shown_by` have shown it.
fn progress(look: &Look, fleet: &Fleet, shown_by: &crate::watch::pop_set::PopSet) -> Progress {
    let is_missing = fleet.active_pops().any(|pop| !shown_by.contains(pop.id));
    let is_further = *shown_by != look.due.shown_by;
    match (is_missing, is_further, look.due.shown_at) {
        (false, true, _) | (false, _, Some(_)) => Progress::Complete,
        (true, true, _) => Progress::Further,
        (true, false, Some(_)) => Progress::Stragglers,
        (_, false, None) => Progress::Unseen,
    }
}

/// Whether a PoP has acknowledged a revision.
fn has_heard(pop: &Pop, fleet: &Fleet, revision: Revision) -> bool {
    let ack = pop.ack.as_ref().filter(|ack| ack.epoch == fleet.epoch);
    ack.is_some_and(|ack| ack.applied >= revision)
}

/// A name that a pattern's certificate is shown for. Below a wildcard it is one that nobody has added.
fn shown_name(pattern: &HostPattern) -> Result<Hostname, ServiceError> {
    match pattern {
        HostPattern::Exact(name) => Ok(name.clone()),
        HostPattern::Wildcard(base) => {
            let label = format!("look-{:04x}{:04x}", random_number()?, random_number()?);
            // A base that leaves no room for a label is shown itself: it is another name then.
            Ok(format!("{label}.{base}").parse().unwrap_or_else(|_| base.clone()))
        }
    }
}
