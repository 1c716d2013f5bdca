//! What agents and the control plane say to each other: JSON, `POST`ed to the PoP API under the PoP's
//! token.
//!
//! An agent asks for work at [`LEASE_PATH`] and gets [`Task`]s. What becomes of one it says in
//! [`Report`]s to [`REPORT_PATH`]; each prolongs the lease. All reports may be repeated: who has heard one
//! already does nothing. A report under another number than the job's last lease is answered
//! [`LeaseState::Lost`], and changes nothing.

use landfall_model::{
    AuthorityName, ChallengeMethod, Fence, HostnameId, JobId, Thumbprint,
    issuance::{
        Account, Assignment, Authority, IssuedCertificate, OpenOrder, PublishedChallenge,
        RenewalAdvice, SealedName, TxtRecord,
    },
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::failure::Trouble;

/// Where work is asked for: [`LeaseRequest`] in, [`LeaseReply`] out.
pub const LEASE_PATH: &str = "/agent/v1/lease";
/// Where reports go: [`Report`] in, [`ReportReply`] out.
pub const REPORT_PATH: &str = "/agent/v1/report";
/// Where it goes when CAs want their certificates renewed: [`RenewalReport`] in, nothing out.
pub const RENEWAL_PATH: &str = "/agent/v1/renewal";

/// What is waited for, beside PoPs: that TXT records are published. No PoP is called so.
pub const CHALLENGE_ZONE: &str = "the zone of challenges";

/// The most tasks of one reply.
pub const MAX_TASKS: u32 = 64;
/// The longest `wait`, in seconds.
pub const MAX_WAIT_SECONDS: u64 = 30;

/// What one run of an agent is called: 32 hexadecimal digits, made anew at each start.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AgentId(pub String);

/// An agent asks for work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRequest {
    /// Who asks.
    pub agent: AgentId,
    /// How many tasks it takes; [`MAX_TASKS`] at most.
    pub free: u32,
    /// How many seconds to wait where there is nothing to do; [`MAX_WAIT_SECONDS`] at most.
    #[serde(default)]
    pub wait: u64,
}

/// What an agent is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseReply {
    /// In the order in which they are to be begun.
    pub tasks: Vec<Task>,
    /// The time by the control plane's clock, in seconds since 1970.
    #[serde(with = "time::serde::timestamp")]
    pub now: OffsetDateTime,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Task {
    /// Obtain a certificate.
    Issue(Box<Assignment>),
    /// Revoke one (RFC 8555 section 7.6).
    Revoke(Box<Revocation>),
    /// Give an account a new key (RFC 8555 section 7.3.5).
    ReplaceKey(Box<AccountErrand>),
    /// Tell the CA whom it may write to (RFC 8555 section 7.3.2).
    UpdateAccount(Box<AccountErrand>),
    /// Ask the CA when it wants one renewed (RFC 9773).
    AskRenewal(Box<RenewalQuestion>),
    /// Something that this version knows nothing of.
    #[serde(other)]
    Unknown,
}

/// A certificate to be revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The errand.
    pub job: JobId,
    /// The number of this lease.
    pub fence: Fence,
    /// For how long, in seconds.
    pub lease_seconds: u32,
    /// Who issued it.
    pub authority: Authority,
    /// Its DER.
    #[serde(with = "landfall_model::seal::bytes")]
    pub certificate: Vec<u8>,
    /// Why (RFC 5280 section 5.3.1).
    pub reason: u8,
    /// Its private key, where that is still there: with it, it is revoked without an account (RFC 8555
    /// section 7.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SealedName>,
}

/// An account that is to be changed at its CA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountErrand {
    /// The errand.
    pub job: JobId,
    /// The number of this lease.
    pub fence: Fence,
    /// For how long, in seconds.
    pub lease_seconds: u32,
    /// The CA, and the account as it is.
    pub authority: Authority,
    /// The account with the key that is to take the place of its own, where one was made already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<Account>,
}

/// A certificate whose CA is to be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewalQuestion {
    /// Whose it is.
    pub hostname: HostnameId,
    /// What the CA knows it by (RFC 9773 section 4.1).
    pub certificate: String,
    /// Who issued it.
    pub authority: Authority,
}

/// What has become of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What is numbered.
    #[serde(default)]
    pub work: Work,
    /// The job, or the errand.
    pub job: JobId,
    /// The number of the lease.
    pub fence: Fence,
    /// What is new.
    pub news: News,
}

/// What a report is of. Jobs and errands are numbered apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// A certificate that is to be issued.
    #[default]
    Job,
    /// What is done at a CA besides: a revocation, or a change of an account.
    Errand,
}

/// What is new of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "snake_case")]
pub enum News {
    /// Nothing: the lease is to last on.
    Alive,
    /// A key was made for an account that has none, or for one that is not registered and whose key does
    /// not open. Whoever is first wins; the reply has the account.
    AccountMade {
        /// The CA.
        authority: AuthorityName,
        /// The account, not registered.
        account: Account,
        /// Which account's place it takes, if that is still the one that counts and is not registered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<Thumbprint>,
    },
    /// The CA knows the account.
    AccountRegistered {
        /// The CA.
        authority: AuthorityName,
        /// Which account.
        thumbprint: Thumbprint,
        /// Where the CA keeps it.
        url: String,
    },
    /// The key of an account, sealed to the group key that is used now instead of an older one.
    AccountResealed {
        /// The CA.
        authority: AuthorityName,
        /// The same account.
        account: Account,
    },
    /// Challenges are to be answered at the edges and in the DNS, in the place of those that were said
    /// before. The reply says which PoPs don't know of it yet, and whether the zone of challenges doesn't;
    /// it is said again until all of them do.
    /// HTTP-01 is answered for every name of the job from then on: it needs nothing but the account.
    Validating {
        /// The account that orders.
        thumbprint: Thumbprint,
        /// What can't be answered from that alone.
        challenges: Vec<PublishedChallenge>,
    },
    /// There is an order.
    Ordered(OpenOrder),
    /// The hostname's owner is to make TXT records. It ends the lease, and the job rests for a while: who
    /// has it next looks for them, goes on with the order where they are there, and says this again
    /// where they are not.
    TxtWanted {
        /// The records.
        records: Vec<TxtRecord>,
        /// One that would do in their place, for this order and all to come, where the CA takes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lasting: Option<TxtRecord>,
        /// The order that they are for.
        order: OpenOrder,
    },
    /// The certificates were issued: one of each type of key. It ends the job.
    Issued {
        /// They and their sealed keys.
        certificates: Vec<IssuedCertificate>,
        /// How the names were proven.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        method: Option<ChallengeMethod>,
    },
    /// The certificate was revoked. It ends the errand.
    Revoked,
    /// A key was made that is to take the place of an account's. Whoever is first wins; the reply has the
    /// account with the key that counts.
    SuccessorMade {
        /// The account with the new key.
        account: Account,
    },
    /// The CA knows the account by its new key. It ends the errand.
    KeyReplaced {
        /// Of the new key.
        thumbprint: Thumbprint,
    },
    /// The CA knows whom it may write to. It ends the errand.
    AccountUpdated {
        /// Whom, as `mailto:` URLs.
        contact: Vec<String>,
    },
    /// It could not be done. It ends the lease.
    Failed {
        /// Why.
        trouble: Trouble,
    },
}

/// What the control plane says to a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportReply {
    /// Whether the job is still the agent's.
    pub lease: LeaseState,
    /// To [`News::AccountMade`] and [`News::SuccessorMade`]: the account that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
    /// To [`News::Validating`]: the names of active PoPs that have not applied it yet, and
    /// [`CHALLENGE_ZONE`] where TXT records are not published yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<String>,
}

/// Whether a job is an agent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// It is.
    Held,
    /// The report ended the job, or put it off.
    Ended,
    /// Its lease ran out and another has the job, or the job is gone.
    Lost,
}

/// What the control plane says to a [`RenewalReport`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewalReply {}

/// When a CA wants a certificate renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewalReport {
    /// Whose it is.
    pub hostname: HostnameId,
    /// What the CA knows it by.
    pub certificate: String,
    /// What it said; none where it has nothing to say.
    pub advice: Option<RenewalAdvice>,
    /// Why it could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_agent_skips_tasks_that_it_does_not_know() {
        let text = r#"{"tasks": [{"task": "dance", "with": "bears"}], "now": 9}"#;
        let reply: LeaseReply = serde_json::from_str(text).unwrap();
        assert_eq!(reply.tasks, [Task::Unknown]);
    }

    #[test]
    fn a_report_is_flat_and_readable() {
        let (job, fence) = (JobId(7), Fence(3));
        let report = Report { work: Work::Errand, job, fence, news: News::Alive };
        let text = r#"{"work":"errand","job":7,"fence":3,"news":{"news":"alive"}}"#;
        assert_eq!(serde_json::to_string(&report).unwrap(), text);
        assert_eq!(serde_json::from_str::<Report>(text).unwrap(), report);
    }
}
