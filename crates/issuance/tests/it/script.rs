//! A control plane in memory that does as it is told, and writes down what it hears.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
};

use landfall_issuance::{
    agent::{ControlError, ControlPlane, Vault, VaultError},
    protocol::{
        LeaseReply, LeaseRequest, LeaseState, News, RenewalReport, Report, ReportReply, Task,
    },
};
use landfall_model::{
    SealContext, Sealed, Thumbprint,
    issuance::{Account, Assignment, PublishedChallenge},
};
use landfall_tests::{DEADLINE, wait_until};
use zeroize::Zeroizing;

use crate::pops::Pops;

/// What a test says and hears. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Script {
    pops: Arc<Pops>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    job: Option<Assignment>,
    news: Vec<News>,
    renewals: Vec<RenewalReport>,
    account: Option<Account>,
    /// The account with the key that is to take the place of its own.
    successor: Option<Account>,
    /// For how many reports PoPs don't know of a validation.
    late: u32,
    is_lost_at: Option<fn(&News) -> bool>,
    is_deaf_to: Option<fn(&News) -> bool>,
    unheard: u32,
    /// How far the clock is ahead.
    ahead: time::Duration,
    /// Why the edge can't write to its disk.
    disk: Option<String>,
}

impl Script {
    pub(crate) fn new(pops: Pops) -> Self {
        Self { pops: Arc::new(pops), state: Arc::default() }
    }

    /// Sets the clock ahead.
    pub(crate) fn set_ahead(&self, ahead: time::Duration) {
        self.state.lock().unwrap().ahead = ahead;
    }

    /// There is a certificate to be issued. Where an account was made, it is said.
    pub(crate) fn give(&self, mut job: Assignment) {
        let mut state = self.state.lock().unwrap();
        job.authority.account.clone_from(&state.account);
        job.pops = self.pops.targets();
        state.job = Some(job.clone());
        state.tasks.push_back(Task::Issue(Box::new(job)));
    }

    /// As [`Self::give`], with other PoPs than there are.
    pub(crate) fn give_as_it_is(&self, job: Assignment) {
        let mut state = self.state.lock().unwrap();
        state.job = Some(job.clone());
        state.tasks.push_back(Task::Issue(Box::new(job)));
    }

    pub(crate) fn give_task(&self, task: Task) {
        self.state.lock().unwrap().tasks.push_back(task);
    }

    /// The edge's disk is full from now on.
    pub(crate) fn fill_disk(&self, words: &str) {
        self.state.lock().unwrap().disk = Some(words.to_owned());
    }

    /// PoPs don't know of a validation until it was said so often.
    pub(crate) fn be_late(&self, times: u32) {
        self.state.lock().unwrap().late = times;
    }

    /// Whoever reports this has lost the job.
    pub(crate) fn lose_at(&self, is_it: fn(&News) -> bool) {
        self.state.lock().unwrap().is_lost_at = Some(is_it);
    }

    /// This is not heard, or everything is.
    pub(crate) fn be_deaf_to(&self, is_it: Option<fn(&News) -> bool>) {
        self.state.lock().unwrap().is_deaf_to = is_it;
    }

    /// How many reports were not heard.
    pub(crate) fn unheard(&self) -> u32 {
        self.state.lock().unwrap().unheard
    }

    pub(crate) fn successor(&self) -> Option<Account> {
        self.state.lock().unwrap().successor.clone()
    }

    pub(crate) fn account(&self) -> Option<Account> {
        self.state.lock().unwrap().account.clone()
    }

    /// Everything that was said, but for [`News::Alive`].
    pub(crate) fn news(&self) -> Vec<News> {
        self.state.lock().unwrap().news.clone()
    }

    /// How often such news were said.
    pub(crate) fn count(&self, is_it: fn(&News) -> bool) -> usize {
        self.news().iter().filter(|news| is_it(news)).count()
    }

    /// Waits until such news are said, and takes everything that was said until then.
    pub(crate) async fn hear(&self, what: &str, is_it: fn(&News) -> bool) -> News {
        wait_until(what, DEADLINE * 2, async || {
            let ended = |news: &News| matches!(news, News::Failed { .. }) && !is_it(news);
            let failed = self.news().into_iter().find(ended);
            assert!(failed.is_none(), "{failed:?}");
            self.news().into_iter().find(is_it)
        })
        .await
    }

    pub(crate) async fn renewal(&self) -> RenewalReport {
        let report = async || self.state.lock().unwrap().renewals.first().cloned();
        wait_until("a renewal report", DEADLINE, report).await
    }

    /// Forgets what was said.
    pub(crate) fn forget(&self) {
        self.state.lock().unwrap().news.clear();
    }
}

impl ControlPlane for Script {
    async fn lease(&self, request: &LeaseRequest) -> Result<LeaseReply, ControlError> {
        let task = async || self.state.lock().unwrap().tasks.pop_front();
        assert!(request.free > 0);
        let wait = std::time::Duration::from_secs(request.wait);
        let poll = async {
            loop {
                if let Some(task) = task().await {
                    return task;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let tasks = tokio::time::timeout(wait, poll).await.into_iter().collect();
        let ahead = self.state.lock().unwrap().ahead;
        Ok(LeaseReply { tasks, now: time::OffsetDateTime::now_utc() + ahead })
    }

    async fn report(&self, report: &Report) -> Result<ReportReply, ControlError> {
        let mut state = self.state.lock().unwrap();
        if state.is_deaf_to.is_some_and(|is_it| is_it(&report.news)) {
            state.unheard += 1;
            return Err(ControlError::Unreachable(Box::new(io::Error::other("it is deaf"))));
        }
        let mut reply =
            ReportReply { lease: LeaseState::Held, account: None, waiting_for: Vec::new() };
        if state.is_lost_at.is_some_and(|is_it| is_it(&report.news)) {
            reply.lease = LeaseState::Lost;
            return Ok(reply);
        }
        let names = state.job.as_ref().map(|job| job.names.clone()).unwrap_or_default();
        match &report.news {
            News::Alive => return Ok(reply),
            News::AccountMade { account, .. } => {
                let first = state.account.get_or_insert_with(|| account.clone());
                reply.account = Some(first.clone());
            }
            News::AccountRegistered { thumbprint, url, .. } => {
                let account = state.account.as_mut().unwrap();
                assert_eq!(account.thumbprint, *thumbprint);
                account.url = Some(url.clone());
            }
            News::AccountResealed { account, .. } => {
                let known = state.account.as_mut().unwrap();
                assert_eq!(account.thumbprint, known.thumbprint);
                known.key = account.key.clone();
            }
            News::Validating { thumbprint, challenges } => {
                if state.late > 0 {
                    state.late -= 1;
                    reply.waiting_for = vec!["pop127.0.0.2".to_owned()];
                } else {
                    self.publish(&names, thumbprint, challenges);
                }
            }
            News::Ordered(_) => {}
            News::SuccessorMade { account } => {
                let first = state.successor.get_or_insert_with(|| account.clone());
                reply.account = Some(first.clone());
            }
            News::KeyReplaced { thumbprint } => {
                let successor = state.successor.take().unwrap();
                assert_eq!(successor.thumbprint, *thumbprint);
                let account = state.account.as_mut().unwrap();
                *account = Account { url: account.url.take(), ..successor };
                reply.lease = LeaseState::Ended;
            }
            News::TxtWanted { .. }
            | News::Issued { .. }
            | News::Revoked
            | News::AccountUpdated { .. }
            | News::Failed { .. } => reply.lease = LeaseState::Ended,
        }
        state.news.push(report.news.clone());
        Ok(reply)
    }

    fn disk_trouble(&self) -> Option<String> {
        self.state.lock().unwrap().disk.clone()
    }

    async fn renewal(&self, report: &RenewalReport) -> Result<(), ControlError> {
        self.state.lock().unwrap().renewals.push(report.clone());
        Ok(())
    }
}

impl Script {
    fn publish(
        &self,
        names: &[landfall_model::HostPattern],
        thumbprint: &Thumbprint,
        challenges: &[PublishedChallenge],
    ) {
        self.pops.publish(names, thumbprint, challenges);
    }
}

/// Holds every group key but `lost`, and seals by writing what it is for in front.
#[derive(Clone, Copy)]
pub(crate) struct OpenVault;

impl Vault for OpenVault {
    fn holds(&self, group_key: &str) -> bool {
        group_key != "lost"
    }

    fn seal(
        &self,
        group_key: &str,
        context: SealContext<'_>,
        secret: &[u8],
    ) -> Result<Sealed, VaultError> {
        let key_id = group_key.to_owned();
        let mut ciphertext = context.associated_data(&key_id);
        ciphertext.extend(secret);
        Ok(Sealed { key_id, enc: Vec::new(), ciphertext })
    }

    fn open(
        &self,
        sealed: &Sealed,
        context: SealContext<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let secret = sealed.ciphertext.strip_prefix(&*context.associated_data(&sealed.key_id));
        let secret = secret.map(|secret| Zeroizing::new(secret.to_vec()));
        secret.ok_or_else(|| VaultError(Box::new(io::Error::other("it is for something else"))))
    }
}
