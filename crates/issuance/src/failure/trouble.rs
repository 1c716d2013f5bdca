//! What happened, as whoever did the attempt saw it.

use landfall_model::ChallengeMethod;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Problem, Step, Words};

/// Why an attempt failed: facts, without a judgement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "trouble", rename_all = "snake_case")]
pub enum Trouble {
    /// The CA said why.
    Problem(Problem),
    /// Something that would have made the attempt fail was found before anything was asked of the CA.
    Precheck(Precheck),
    /// No connection to the CA, or one that broke.
    NoConnection {
        /// What was being done.
        step: Step,
        /// What the network said.
        detail: Words,
    },
    /// The CA didn't answer in time, or an order made no progress in time.
    Slow {
        /// What was being done.
        step: Step,
        /// How long it was waited for, in seconds.
        waited: u32,
    },
    /// The CA's answer is not what the protocol has, such as HTML.
    Nonsense {
        /// What was being done.
        step: Step,
        /// The answer's HTTP status.
        status: u16,
        /// How it begins.
        excerpt: Words,
    },
    /// The directory is not one (RFC 8555 section 7.1.1).
    BadDirectory {
        /// What is wrong with it.
        detail: Words,
    },
    /// The order became invalid, and no challenge says why.
    OrderInvalid {
        /// What the order says.
        detail: Words,
    },
    /// The order expired before it was done.
    OrderExpired,
    /// The chain that was issued is not what was ordered.
    BadChain {
        /// What is wrong with it.
        detail: Words,
    },
    /// The account's key, or the secret of its external account, can't be opened or read.
    AccountUnusable {
        /// What is wrong with it.
        detail: Words,
    },
    /// The agent's clock is not the CA's.
    ClockOff {
        /// What the agent's says, in seconds since 1970.
        #[serde(with = "time::serde::timestamp")]
        ours: OffsetDateTime,
        /// What the CA's says, in seconds since 1970.
        #[serde(with = "time::serde::timestamp")]
        theirs: OffsetDateTime,
    },
    /// The agent's clock is not the control plane's.
    ControlClockOff {
        /// What the agent's says, in seconds since 1970.
        #[serde(with = "time::serde::timestamp")]
        ours: OffsetDateTime,
        /// What the control plane's says, in seconds since 1970.
        #[serde(with = "time::serde::timestamp")]
        theirs: OffsetDateTime,
    },
    /// The edge does not hold the group key that everything is to be sealed to.
    NoGroupKey {
        /// Its id.
        key_id: Words,
    },
    /// The edge does not hold the group key that our account's key is sealed to.
    AccountSealed {
        /// Its id.
        key_id: Words,
    },
    /// The agent can't write to its disk.
    Disk {
        /// What the system said.
        detail: Words,
    },
    /// What was issued could not be handed over to the control plane.
    Upload {
        /// What was said.
        detail: Words,
    },
    /// The lease ended before the job did.
    LeaseLost,
    /// Something that this version knows nothing of.
    #[serde(other)]
    Unknown,
}

/// How far an attempt got, as CAs count it: orders when they are made, certificates when they are
/// issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spent {
    /// There was no order.
    Nothing,
    /// There was one, and no certificate.
    Order,
    /// There was a certificate, or nobody knows.
    Certificate,
}

impl Trouble {
    /// How far the attempt got at most. What was drawn for the rest is given back
    /// ([`crate::ledger::Ledger::give_back`]).
    pub const fn spent(&self) -> Spent {
        match self {
            // What an order's challenges have to show is known once there is one.
            Self::Precheck(
                Precheck::TxtMissing { .. }
                | Precheck::Challenge {
                    method: ChallengeMethod::TlsAlpn01 | ChallengeMethod::Dns01,
                    ..
                },
            ) => Spent::Order,
            Self::Precheck(_)
            | Self::BadDirectory { .. }
            | Self::AccountUnusable { .. }
            | Self::ClockOff { .. }
            | Self::ControlClockOff { .. }
            | Self::NoGroupKey { .. }
            | Self::AccountSealed { .. } => Spent::Nothing,
            Self::Problem(Problem { step, .. }) | Self::Nonsense { step, .. } => step.spent(),
            // The answer is lost, and what was asked for may have been done.
            Self::NoConnection { step, .. } | Self::Slow { step, .. } => match step {
                Step::Directory | Step::Account => Spent::Nothing,
                Step::Order | Step::Validation => Spent::Order,
                Step::Finalize | Step::Download | Step::RenewalInfo | Step::Revocation => {
                    Spent::Certificate
                }
            },
            Self::OrderInvalid { .. } | Self::OrderExpired => Spent::Order,
            Self::BadChain { .. }
            | Self::Disk { .. }
            | Self::Upload { .. }
            | Self::LeaseLost
            | Self::Unknown => Spent::Certificate,
        }
    }

    /// Whether the CA may have been asked for anything before it.
    pub fn asks_a_ca(&self) -> bool {
        !matches!(self, Self::Precheck(_)) || self.spent() > Spent::Nothing
    }

    /// Whether the CA counts it against the name as a failed authorization: one of its challenges was
    /// tried and did not pass.
    pub const fn spends_an_authorization(&self) -> bool {
        match self {
            Self::Problem(problem) => problem.method.is_some(),
            Self::OrderInvalid { .. } => true,
            Self::Precheck(_)
            | Self::NoConnection { .. }
            | Self::Slow { .. }
            | Self::Nonsense { .. }
            | Self::BadDirectory { .. }
            | Self::OrderExpired
            | Self::BadChain { .. }
            | Self::AccountUnusable { .. }
            | Self::ClockOff { .. }
            | Self::ControlClockOff { .. }
            | Self::NoGroupKey { .. }
            | Self::AccountSealed { .. }
            | Self::Disk { .. }
            | Self::Upload { .. }
            | Self::LeaseLost
            | Self::Unknown => false,
        }
    }
}

impl Step {
    /// What a request of this step that the CA refused has cost.
    const fn spent(self) -> Spent {
        match self {
            Self::Directory | Self::Account | Self::Order => Spent::Nothing,
            Self::Validation | Self::Finalize => Spent::Order,
            Self::Download | Self::RenewalInfo | Self::Revocation => Spent::Certificate,
        }
    }
}

/// What was found before anything was asked of the CA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "precheck", rename_all = "snake_case")]
pub enum Precheck {
    /// The hostname's DNS doesn't lead here.
    Dns {
        /// What its owner is to change, in one sentence.
        advice: Words,
    },
    /// CAA records forbid this CA, this account, or every method that could be used (RFC 8659, RFC 8657).
    Caa {
        /// Where the records are.
        at: Words,
        /// What the CA is called in such records, as far as that is known.
        #[serde(default)]
        identity: Words,
    },
    /// The records can't be looked up, and a CA must refuse then (RFC 8659 section 3).
    CaaLookup {
        /// The name that was asked for.
        at: Words,
    },
    /// The challenge's answer could not be fetched from PoPs.
    Challenge {
        /// How it was to be proven.
        method: ChallengeMethod,
        /// The PoPs where it failed, by name.
        failed: Vec<Words>,
        /// How many PoPs were asked.
        asked: u32,
        /// What was seen at the first of those.
        detail: Words,
    },
    /// The TXT record that the owner is to make isn't there yet.
    TxtMissing {
        /// Its name.
        name: Words,
    },
    /// The CNAME by which the owner leaves DNS challenges to us is not there.
    NotDelegated {
        /// Its name.
        name: Words,
        /// Where it should lead.
        target: Words,
    },
    /// There is no method that could be used.
    NoMethod {
        /// Why.
        detail: Words,
    },
    /// Something that this version knows nothing of.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use landfall_model::ChallengeMethod;

    use super::*;

    #[test]
    fn a_newer_agents_trouble_is_unknown() {
        for text in [
            r#"{"trouble": "eclipse", "until": 9}"#,
            r#"{"trouble": "precheck", "precheck": "eclipse", "until": 9}"#,
        ] {
            let read: Trouble = serde_json::from_str(text).unwrap();
            assert!(
                matches!(read, Trouble::Unknown | Trouble::Precheck(Precheck::Unknown)),
                "{text}"
            );
        }
    }

    #[test]
    fn knows_what_an_attempt_has_cost() {
        let slow = |step| Trouble::Slow { step, waited: 20 };
        let nonsense = |step| Trouble::Nonsense { step, status: 200, excerpt: Words::default() };
        let cases = [
            (Trouble::Precheck(Precheck::Unknown), Spent::Nothing),
            (Trouble::Precheck(Precheck::TxtMissing { name: Words::default() }), Spent::Order),
            (slow(Step::Account), Spent::Nothing),
            (slow(Step::Order), Spent::Order),
            (slow(Step::Finalize), Spent::Certificate),
            (nonsense(Step::Order), Spent::Nothing),
            (nonsense(Step::Finalize), Spent::Order),
            (Trouble::OrderExpired, Spent::Order),
            (Trouble::LeaseLost, Spent::Certificate),
        ];
        for (trouble, spent) in cases {
            assert_eq!(trouble.spent(), spent, "{trouble:?}");
            let unasked = matches!(trouble, Trouble::Precheck(Precheck::Unknown));
            assert_eq!(trouble.asks_a_ca(), !unasked, "{trouble:?}");
        }
    }

    #[test]
    fn reads_what_it_writes() {
        let troubles = [
            Trouble::LeaseLost,
            Trouble::ClockOff {
                ours: OffsetDateTime::UNIX_EPOCH,
                theirs: OffsetDateTime::UNIX_EPOCH,
            },
            Trouble::Precheck(Precheck::Challenge {
                method: ChallengeMethod::Http01,
                failed: vec!["fra1".into()],
                asked: 3,
                detail: "404".into(),
            }),
            Trouble::Problem(Problem {
                step: Step::Order,
                status: Some(429),
                kind: crate::failure::ProblemKind::RateLimited,
                detail: "too many".into(),
                subproblems: Vec::new(),
                retry_after: Some(OffsetDateTime::UNIX_EPOCH),
                method: None,
            }),
        ];
        for trouble in troubles {
            let written = serde_json::to_string(&trouble).unwrap();
            assert_eq!(serde_json::from_str::<Trouble>(&written).unwrap(), trouble, "{written}");
        }
    }
}
