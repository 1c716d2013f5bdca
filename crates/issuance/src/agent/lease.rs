//! A job that is ours for a while.

use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use landfall_model::{Fence, JobId};
use tokio::time::{Instant, sleep};

use super::{
    backoff::{Backoff, chance},
    surroundings::{ControlError, ControlPlane},
};
use crate::{
    acme::AcmeError,
    failure::Trouble,
    protocol::{LeaseState, News, Report, ReportReply, Work},
};

/// How many times within its length a lease is prolonged.
const PROLONGED: u32 = 3;
/// The longest pause between two attempts to be heard.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// For how long what ends a job is sent again where the control plane does not answer. Nobody else may
/// have the job until then, and a certificate was paid for.
const PATIENCE: Duration = Duration::from_secs(900);

/// Why a job goes no further.
#[derive(Debug)]
pub(super) enum Stop {
    /// It is not ours any more. There is nothing to be said.
    Lost,
    /// The control plane has put it off.
    Rests,
    /// It failed.
    Trouble(Box<Trouble>),
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(Box::new(trouble))
    }
}

impl From<AcmeError> for Stop {
    fn from(error: AcmeError) -> Self {
        error.trouble().into()
    }
}

/// A lease, and whom it is prolonged by.
pub(super) struct Lease<'a, C> {
    control: &'a C,
    work: Work,
    job: JobId,
    fence: Fence,
    length: Duration,
    until: Mutex<Instant>,
}

impl<'a, C: ControlPlane> Lease<'a, C> {
    /// Begins with the reply to the request that was sent at `asked`.
    pub(super) fn new(
        control: &'a C,
        (work, job, fence): (Work, JobId, Fence),
        seconds: u32,
        asked: Instant,
    ) -> Self {
        let length = Duration::from_secs(seconds.max(1).into());
        Self { control, work, job, fence, length, until: Mutex::new(asked + length) }
    }

    /// Prolongs the lease for as long as it can be, and says why it can't.
    pub(super) async fn keep(&self) -> Result<Infallible, Stop> {
        loop {
            sleep(self.length / PROLONGED).await;
            self.report(News::Alive).await?;
        }
    }

    /// As [`ControlPlane::disk_trouble`].
    pub(super) fn disk_trouble(&self) -> Option<String> {
        self.control.disk_trouble()
    }

    /// Reports, again and again until the lease ends where the control plane does not answer.
    pub(super) async fn report(&self, news: News) -> Result<ReportReply, Stop> {
        self.report_until(news, || self.until()).await
    }

    /// Reports what ends the job.
    pub(super) async fn end(&self, news: News) -> Result<ReportReply, Stop> {
        let until = Instant::now() + PATIENCE;
        self.report_until(news, || until).await
    }

    async fn report_until(
        &self,
        news: News,
        until: impl Fn() -> Instant,
    ) -> Result<ReportReply, Stop> {
        let report = Report { work: self.work, job: self.job, fence: self.fence, news };
        let mut backoff = Backoff::up_to(LONGEST_PAUSE);
        loop {
            let sent = Instant::now();
            match self.control.report(&report).await {
                Ok(ReportReply { lease: LeaseState::Lost, .. }) => return Err(Stop::Lost),
                Ok(reply) => {
                    self.prolong(sent + self.length);
                    return Ok(reply);
                }
                Err(ControlError::Unreachable(error)) => {
                    tracing::debug!(job = self.job.0, %error, "a report was not heard");
                }
                Err(ControlError::Refused(error)) => {
                    return Err(Trouble::Upload { detail: error.to_string().into() }.into());
                }
            }
            let pause = backoff.next(chance());
            if Instant::now() + pause >= until() {
                return Err(Stop::Lost);
            }
            sleep(pause).await;
        }
    }

    fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prolong(&self, until: Instant) {
        let mut own = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        *own = until.max(*own);
    }
}
