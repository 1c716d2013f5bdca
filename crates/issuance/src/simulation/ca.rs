//! A CA, written from the description of Let's Encrypt's limits and with nothing of the ledger's.

use std::collections::{BTreeSet, HashMap};

use landfall_model::ChallengeMethod;
use time::OffsetDateTime;

use super::{HOUR, time_at};
use crate::failure::{Problem, ProblemKind, Step, Trouble};

/// Tokens that come back evenly.
struct Tokens {
    left: f64,
    of: f64,
    over: f64,
    at: i64,
}

impl Tokens {
    fn full(of: u32, over: i64, at: i64) -> Self {
        Self { left: f64::from(of), of: f64::from(of), over: over as f64, at }
    }

    fn take(&mut self, now: i64) -> bool {
        let back = (now - self.at) as f64 * self.of / self.over;
        self.left = (self.left + back).min(self.of);
        self.at = now;
        let has = self.left > 1.0 - 1e-6;
        self.left -= if has { 1.0 } else { 0.0 };
        has
    }

    fn has(&mut self, now: i64) -> bool {
        let has = self.take(now);
        self.left += if has { 1.0 } else { 0.0 };
        has
    }
}

/// What an agent asks for.
pub(super) struct Order<'a> {
    pub(super) name: &'a str,
    pub(super) domain: &'a str,
    pub(super) replaces: Option<u64>,
    /// Whether it is not a new one.
    pub(super) is_resumed: bool,
    /// Whether the name's challenge would pass.
    pub(super) is_good: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outage {
    Down,
    Errors,
    Html,
}

pub(super) struct Ca {
    pub(super) life: i64,
    pub(super) outages: Vec<(i64, i64, Outage)>,
    orders: Tokens,
    domains: HashMap<String, Tokens>,
    sets: HashMap<String, Tokens>,
    failures: HashMap<String, Tokens>,
    replaced: BTreeSet<u64>,
    /// Orders that were refused for a limit.
    pub(super) refused: u32,
    pub(super) calls: u32,
    pub(super) issued: u32,
}

impl Ca {
    pub(super) fn new(life: i64, start: i64) -> Self {
        Self {
            life,
            outages: Vec::new(),
            orders: Tokens::full(300, 3 * HOUR, start),
            domains: HashMap::new(),
            sets: HashMap::new(),
            failures: HashMap::new(),
            replaced: BTreeSet::new(),
            refused: 0,
            calls: 0,
            issued: 0,
        }
    }

    /// From when to when a certificate is valid, or why there is none.
    pub(super) fn order(
        &mut self,
        order: &Order<'_>,
        now: i64,
    ) -> Result<(OffsetDateTime, OffsetDateTime), Trouble> {
        self.calls += 1;
        let outage = self.outages.iter().find(|(from, to, _)| (*from..*to).contains(&now));
        if let Some((_, _, outage)) = outage {
            return Err(outage.trouble());
        }
        if order.is_resumed {
            return Ok((time_at(now - HOUR), time_at(now - HOUR + self.life)));
        }
        if order.replaces.is_some_and(|old| self.replaced.contains(&old)) {
            return Err(problem("alreadyReplaced", "", None));
        }
        if let Some(limit) = self.limit(order, now) {
            self.refused += 1;
            return Err(problem("rateLimited", limit, None));
        }
        if !order.is_good {
            let failures = tokens(&mut self.failures, order.name, 5, HOUR, now);
            failures.take(now);
            let detail = "203.0.113.1: Invalid response: 404";
            return Err(problem("unauthorized", detail, Some(ChallengeMethod::Http01)));
        }
        if order.replaces.is_none() {
            let week = 7 * 24 * HOUR;
            tokens(&mut self.domains, order.domain, 50, week, now).take(now);
            tokens(&mut self.sets, order.name, 5, week, now).take(now);
        }
        self.replaced.extend(order.replaces);
        self.issued += 1;
        Ok((time_at(now - HOUR), time_at(now - HOUR + self.life)))
    }

    fn limit(&mut self, order: &Order<'_>, now: i64) -> Option<&'static str> {
        if !tokens(&mut self.failures, order.name, 5, HOUR, now).has(now) {
            return Some("too many failed authorizations (5)");
        }
        if order.replaces.is_some() {
            return None;
        }
        let week = 7 * 24 * HOUR;
        let domain = tokens(&mut self.domains, order.domain, 50, week, now);
        let set = tokens(&mut self.sets, order.name, 5, week, now);
        if !domain.has(now) {
            return Some("too many certificates (50) already issued for this domain");
        }
        if !set.has(now) {
            return Some("too many certificates (5) already issued for this exact set");
        }
        if !self.orders.take(now) {
            return Some("too many new orders (300)");
        }
        None
    }
}

fn tokens<'a>(
    all: &'a mut HashMap<String, Tokens>,
    key: &str,
    of: u32,
    over: i64,
    now: i64,
) -> &'a mut Tokens {
    all.entry(key.to_owned()).or_insert_with(|| Tokens::full(of, over, now))
}

impl Outage {
    fn trouble(self) -> Trouble {
        match self {
            Self::Down => Trouble::NoConnection { step: Step::Order, detail: "refused".into() },
            Self::Errors => problem("serverInternal", "", None),
            Self::Html => {
                Trouble::Nonsense { step: Step::Order, status: 200, excerpt: "<html>".into() }
            }
        }
    }
}

fn problem(kind: &str, detail: &str, method: Option<ChallengeMethod>) -> Trouble {
    Trouble::Problem(Problem {
        step: if method.is_some() { Step::Validation } else { Step::Order },
        status: None,
        kind: ProblemKind::from_urn(kind),
        detail: detail.into(),
        subproblems: Vec::new(),
        retry_after: None,
        method,
    })
}
