//! The classes of failures.

use serde::{Deserialize, Serialize};

/// What kind of a failure it was. Each variant is a label of metrics, and a row of the runbook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The hostname's DNS doesn't lead here, or is gone.
    DnsNotHere,
    /// The CA's resolvers get no good answer: SERVFAIL, a time-out, DNSSEC.
    DnsBroken,
    /// CAA records forbid it, or can't be looked up.
    CaaForbids,
    /// The TXT record that the owner is to make is not there, or has another value.
    TxtMissing,
    /// No method of proof can be used.
    NoMethod,
    /// No PoP answered our own fetch of the challenge.
    ChallengeUnreachable,
    /// Some PoPs did not answer our own fetch of the challenge.
    PopUnreachable,
    /// The CA went to an address that is not a PoP's.
    StaleAddress,
    /// The CA could not connect to our addresses.
    Connection,
    /// Another server answered, or the answer was wrong.
    WrongAnswer,
    /// TLS-ALPN-01 was not possible.
    AlpnRefused,
    /// What the CA sees differs from place to place.
    PerspectivesDiffer,
    /// The CA wants less to be asked of it.
    RateLimited,
    /// The CA has stopped issuing for a name that failed too often.
    NamePaused,
    /// The CA's policy refuses the name.
    NameRefused,
    /// The CA refuses what the order says of the certificate that it replaces.
    ReplacesRefused,
    /// The CA took a nonce for none of its own, again and again.
    NonceRefused,
    /// The CA says that something broke there, or that it is busy.
    AuthorityBusy,
    /// There is no connection to the CA.
    AuthorityDown,
    /// The CA takes too long.
    AuthoritySlow,
    /// The CA's answers are not the protocol's.
    AuthorityNonsense,
    /// What stands where the directory should be is none.
    BadDirectory,
    /// The CA has no such account any more, or it was deactivated.
    AccountGone,
    /// The CA wants something of the account: an external account, consent to new terms, a contact.
    AccountRefused,
    /// The account's key, or the secret of its external account, can't be opened or read by the agent.
    AccountUnusable,
    /// The CA has no such profile.
    ProfileRefused,
    /// The order became invalid without a reason.
    OrderInvalid,
    /// The order is not known any more, or expired.
    OrderGone,
    /// The CA refuses a request of ours as wrong in itself.
    RequestRefused,
    /// The certificate that was issued is not what was ordered.
    BadChain,
    /// The CA's clock is not the agent's, which is the control plane's.
    ClockOff,
    /// The agent's clock is not the control plane's.
    ControlClock,
    /// The agent's edge does not hold the group key that everything is sealed to.
    GroupKey,
    /// The key of our account is sealed to a group key that the agent's edge does not hold.
    AccountSealed,
    /// The agent can't write to its disk.
    Disk,
    /// The certificate could not be handed over to the control plane.
    Upload,
    /// The agent died, or lost its lease.
    LeaseLost,
    /// What happened is not known here.
    Unknown,
}

/// Who can mend a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The hostname's owner. A name that fails this way goes behind those that don't.
    Owner,
    /// The CA. It is held against no name.
    Authority,
    /// The operator. It is held against no name.
    Operator,
}

impl FailureClass {
    /// Every class.
    pub const ALL: [Self; 38] = [
        Self::DnsNotHere,
        Self::DnsBroken,
        Self::CaaForbids,
        Self::TxtMissing,
        Self::NoMethod,
        Self::ChallengeUnreachable,
        Self::PopUnreachable,
        Self::StaleAddress,
        Self::Connection,
        Self::WrongAnswer,
        Self::AlpnRefused,
        Self::PerspectivesDiffer,
        Self::RateLimited,
        Self::NamePaused,
        Self::NameRefused,
        Self::ReplacesRefused,
        Self::NonceRefused,
        Self::AuthorityBusy,
        Self::AuthorityDown,
        Self::AuthoritySlow,
        Self::AuthorityNonsense,
        Self::BadDirectory,
        Self::AccountGone,
        Self::AccountRefused,
        Self::AccountUnusable,
        Self::ProfileRefused,
        Self::OrderInvalid,
        Self::OrderGone,
        Self::RequestRefused,
        Self::BadChain,
        Self::ClockOff,
        Self::ControlClock,
        Self::GroupKey,
        Self::AccountSealed,
        Self::Disk,
        Self::Upload,
        Self::LeaseLost,
        Self::Unknown,
    ];

    /// The classes after which nothing is tried for hours, unless an operator does something about them.
    pub const FOR_OPERATORS: [Self; 6] = [
        Self::NamePaused,
        Self::BadDirectory,
        Self::AccountGone,
        Self::AccountRefused,
        Self::AccountUnusable,
        Self::ProfileRefused,
    ];

    /// As metrics, the API and the store have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DnsNotHere => "dns_not_here",
            Self::DnsBroken => "dns_broken",
            Self::CaaForbids => "caa_forbids",
            Self::TxtMissing => "txt_missing",
            Self::NoMethod => "no_method",
            Self::ChallengeUnreachable => "challenge_unreachable",
            Self::PopUnreachable => "pop_unreachable",
            Self::StaleAddress => "stale_address",
            Self::Connection => "connection",
            Self::WrongAnswer => "wrong_answer",
            Self::AlpnRefused => "alpn_refused",
            Self::PerspectivesDiffer => "perspectives_differ",
            Self::RateLimited => "rate_limited",
            Self::NamePaused => "name_paused",
            Self::NameRefused => "name_refused",
            Self::ReplacesRefused => "replaces_refused",
            Self::NonceRefused => "nonce_refused",
            Self::AuthorityBusy => "authority_busy",
            Self::AuthorityDown => "authority_down",
            Self::AuthoritySlow => "authority_slow",
            Self::AuthorityNonsense => "authority_nonsense",
            Self::BadDirectory => "bad_directory",
            Self::AccountGone => "account_gone",
            Self::AccountRefused => "account_refused",
            Self::AccountUnusable => "account_unusable",
            Self::ProfileRefused => "profile_refused",
            Self::OrderInvalid => "order_invalid",
            Self::OrderGone => "order_gone",
            Self::RequestRefused => "request_refused",
            Self::BadChain => "bad_chain",
            Self::ClockOff => "clock_off",
            Self::ControlClock => "control_clock",
            Self::GroupKey => "group_key",
            Self::AccountSealed => "account_sealed",
            Self::Disk => "disk",
            Self::Upload => "upload",
            Self::LeaseLost => "lease_lost",
            Self::Unknown => "unknown",
        }
    }

    /// Reads what [`Self::name`] writes.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// Whether it would have come to the same for every name: the CA, or our account there, works for
    /// nobody. After some in a row the CA is left alone for a while
    /// ([`crate::schedule::authority_hold`]). Any other outcome shows that it works.
    pub const fn is_outage(self) -> bool {
        matches!(
            self,
            Self::NonceRefused
                | Self::AuthorityBusy
                | Self::AuthorityDown
                | Self::AuthoritySlow
                | Self::AuthorityNonsense
                | Self::BadDirectory
                | Self::AccountGone
                | Self::AccountRefused
                | Self::AccountUnusable
                | Self::AccountSealed
                | Self::ProfileRefused
                | Self::BadChain
                | Self::ClockOff
        )
    }

    /// Whether it would come to the same for the name with this CA, however long it waits, and another CA
    /// may do better.
    pub const fn wants_another_authority(self) -> bool {
        matches!(self, Self::CaaForbids | Self::NameRefused | Self::BadChain)
    }

    /// Whether the agent itself failed, which says nothing of the CA.
    pub const fn is_agents_own(self) -> bool {
        matches!(
            self,
            Self::ControlClock | Self::GroupKey | Self::Disk | Self::Upload | Self::LeaseLost
        )
    }

    /// Who can mend it.
    pub const fn fault(self) -> Fault {
        match self {
            Self::DnsNotHere
            | Self::DnsBroken
            | Self::CaaForbids
            | Self::TxtMissing
            | Self::NoMethod
            | Self::StaleAddress
            | Self::Connection
            | Self::WrongAnswer
            | Self::AlpnRefused
            | Self::PerspectivesDiffer
            | Self::NamePaused
            | Self::NameRefused => Fault::Owner,
            Self::RateLimited
            | Self::ReplacesRefused
            | Self::NonceRefused
            | Self::AuthorityBusy
            | Self::AuthorityDown
            | Self::AuthoritySlow
            | Self::AuthorityNonsense
            | Self::OrderInvalid
            | Self::OrderGone
            | Self::BadChain
            | Self::ClockOff => Fault::Authority,
            Self::ChallengeUnreachable
            | Self::PopUnreachable
            | Self::BadDirectory
            | Self::AccountGone
            | Self::AccountRefused
            | Self::AccountUnusable
            | Self::ProfileRefused
            | Self::RequestRefused
            | Self::ControlClock
            | Self::GroupKey
            | Self::AccountSealed
            | Self::Disk
            | Self::Upload
            | Self::LeaseLost
            | Self::Unknown => Fault::Operator,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_written_by_its_name_and_read_again() {
        for class in FailureClass::ALL {
            assert_eq!(serde_json::to_value(class).unwrap(), class.name());
            assert_eq!(FailureClass::from_name(class.name()), Some(class));
        }
        assert_eq!(FailureClass::from_name("eclipse"), None);
    }
}
