//! The rounds: every cell of every subject in turn, and again.

use std::{path::PathBuf, time::Duration};

use super::{
    LoadError,
    client::Sessions,
    generators::{self, Done},
    handshakes, idle, latency,
    metric::Metric,
    options::Plan,
    peers::Logging,
    report::{Invalid, Sample},
    resumption,
    servers::{LARGE_PATH, SMALL_PATH},
    stage::Stage,
    subject::Subject,
};

/// Connections of HTTP/1 keep-alive.
const CONNECTIONS: usize = 64;
/// Connections of downloads.
const DOWNLOADS: usize = 16;
/// The fixed rate is this part of what the slowest proxy does at most: all are far from their ends.
const RATE_PART: f64 = 0.5;
/// How long each proxy is tried to find that, in seconds.
const TRIAL_S: u64 = 3;

/// What is done to a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    Memory,
    H1,
    H2,
    Latency,
    FullHandshakes,
    ResumedHandshakes,
    Downloads,
}

impl Load {
    /// All but [`Self::Memory`], which needs a server that is started anew.
    const OF_A_ROUND: [Self; 6] = [
        Self::H1,
        Self::H2,
        Self::Latency,
        Self::FullHandshakes,
        Self::ResumedHandshakes,
        Self::Downloads,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "idle connections",
            Self::H1 => "HTTP/1",
            Self::H2 => "HTTP/2",
            Self::Latency => "latency",
            Self::FullHandshakes => "full handshakes",
            Self::ResumedHandshakes => "resumed handshakes",
            Self::Downloads => "downloads",
        }
    }
}

/// A comparison under way.
pub(super) struct Comparison {
    stage: Stage,
    plan: Plan,
    script: PathBuf,
    /// Requests a second of [`Load::Latency`].
    pub(super) fixed_rate: u32,
    pub(super) samples: Vec<Sample>,
    pub(super) invalid: Vec<Invalid>,
}

impl Comparison {
    /// Checks that what is measured is the same for all, and finds the fixed rate.
    pub(super) async fn prepare(
        mut stage: Stage,
        plan: Plan,
        script: PathBuf,
    ) -> Result<Self, LoadError> {
        resumption::check(&mut stage).await?;
        let mut slowest = f64::INFINITY;
        for subject in Subject::PROXIES {
            stage.restart(subject, Logging::Off).await?;
            let address = stage.target(subject).address;
            generators::check_negotiated(subject.name(), address).await?;
            let trial = generators::wrk(&script, address, SMALL_PATH, CONNECTIONS, TRIAL_S).await?;
            eprintln!("{} does {:.0} requests/s at most", subject.name(), trial.rate());
            slowest = slowest.min(trial.rate());
        }
        let fixed_rate = fixed_rate(slowest);
        eprintln!("the fixed rate is {fixed_rate} requests/s");
        let (samples, invalid) = (Vec::new(), Vec::new());
        Ok(Self { stage, plan, script, fixed_rate, samples, invalid })
    }

    /// Measures everything. A cell that fails is kept as such, and the others go on.
    pub(super) async fn run(&mut self) {
        for round in 0..self.plan.rounds {
            for subject in Subject::in_round(round) {
                self.cell(round, subject, Load::Memory).await;
            }
            for load in Load::OF_A_ROUND {
                for subject in Subject::in_round(round) {
                    if load != Load::H2 || subject.speaks_h2() {
                        self.cell(round, subject, load).await;
                    }
                }
            }
            eprintln!("round {} of {} is done", round + 1, self.plan.rounds);
        }
    }

    async fn cell(&mut self, round: usize, subject: Subject, load: Load) {
        match self.measure(subject, load).await {
            Ok(values) => {
                let values = values.into_iter();
                let samples =
                    values.map(|(metric, value)| Sample { round, subject, metric, value });
                self.samples.extend(samples);
            }
            Err(error) => {
                let reason = error.chain();
                eprintln!("{}, {}: not valid: {reason}", subject.name(), load.name());
                self.invalid.push(Invalid { round, subject, load: load.name(), reason });
            }
        }
    }

    async fn measure(
        &mut self,
        subject: Subject,
        load: Load,
    ) -> Result<Vec<(Metric, f64)>, LoadError> {
        if load == Load::Memory {
            self.stage.restart(subject, Logging::Off).await?;
        }
        let target = self.stage.target(subject);
        let (address, root) = (target.address, &self.stage.identity.root);
        let handshakes_last = Duration::from_secs(self.plan.handshakes_s);
        let origin = self.stage.origin();
        let (before, origin_before) = (target.tree.cpu(), origin.cpu());
        let done = match load {
            Load::Memory => {
                let number = self.plan.idle_connections;
                let bytes = idle::run(root, address, target.tree, number).await?;
                return Ok(vec![(Metric::IdleMemory, bytes / 1_024.0)]);
            }
            Load::Latency => {
                let lasts = Duration::from_secs(self.plan.latency_s);
                let latency = latency::run(root, address, self.fixed_rate, lasts).await?;
                let micros = |time: Duration| time.as_secs_f64() * 1e6;
                let (p50, p99) = (micros(latency.p50), micros(latency.p99));
                return Ok(vec![(Metric::LatencyP50, p50), (Metric::LatencyP99, p99)]);
            }
            Load::H1 => self.wrk(subject, SMALL_PATH, CONNECTIONS, self.plan.requests_s).await?,
            Load::Downloads => {
                self.wrk(subject, LARGE_PATH, DOWNLOADS, self.plan.downloads_s).await?
            }
            Load::H2 => generators::h2load(address, self.plan.requests_s).await?,
            Load::FullHandshakes => {
                handshakes::run(root, address, Sessions::Forget, handshakes_last).await?
            }
            Load::ResumedHandshakes => {
                handshakes::run(root, address, Sessions::Keep, handshakes_last).await?
            }
        };
        let used = target.tree.cpu().saturating_sub(before);
        let mut values = values(load, done, used, origin.cpu().saturating_sub(origin_before));
        // The floor that answers from memory has no origin.
        values.retain(|(metric, _)| *metric != Metric::OriginCpu || subject != Subject::Memory);
        Ok(values)
    }

    async fn wrk(
        &mut self,
        subject: Subject,
        path: &str,
        connections: usize,
        seconds: u64,
    ) -> Result<Done, LoadError> {
        let address = self.stage.target(subject).address;
        generators::wrk(&self.script, address, path, connections, seconds).await
    }
}

/// A part of the slowest proxy's requests a second, in hundreds.
fn fixed_rate(slowest: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is positive, and far below 2^32"
    )]
    let hundreds = (slowest * RATE_PART / 100.0) as u32;
    hundreds.max(1) * 100
}

/// What a load that was done tells of its subject, which `used` this CPU time for it.
fn values(load: Load, done: Done, used: Duration, origin: Duration) -> Vec<(Metric, f64)> {
    let micros = |used| done.each(used) * 1e6;
    match load {
        Load::H1 => vec![
            (Metric::H1Requests, done.rate()),
            (Metric::H1Cpu, micros(used)),
            (Metric::OriginCpu, micros(origin)),
        ],
        Load::H2 => vec![(Metric::H2Requests, done.rate()), (Metric::H2Cpu, micros(used))],
        Load::FullHandshakes => {
            vec![(Metric::FullHandshakes, done.rate()), (Metric::FullHandshakeCpu, micros(used))]
        }
        Load::ResumedHandshakes => vec![
            (Metric::ResumedHandshakes, done.rate()),
            (Metric::ResumedHandshakeCpu, micros(used)),
        ],
        // A request is 1 MiB: 1,024 of them are 1 GiB.
        Load::Downloads => vec![
            (Metric::Downloads, done.rate()),
            (Metric::DownloadCpu, done.each(used) * 1_024.0 * 1e3),
        ],
        Load::Memory | Load::Latency => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_rate_is_half_of_the_slowest_in_hundreds() {
        for (slowest, rate) in [(10_000.0, 5_000), (4_399.0, 2_100), (10.0, 100)] {
            assert_eq!(fixed_rate(slowest), rate);
        }
    }

    #[test]
    fn time_is_told_for_each_request_and_for_a_gibibyte() {
        let done = Done { requests: 1_000, seconds: 2.0 };
        let used = Duration::from_millis(500);
        let told = values(Load::FullHandshakes, done, used, Duration::ZERO);
        assert_eq!(told, [(Metric::FullHandshakes, 500.0), (Metric::FullHandshakeCpu, 500.0)]);
        let told = values(Load::Downloads, done, used, Duration::ZERO);
        assert_eq!(told, [(Metric::Downloads, 500.0), (Metric::DownloadCpu, 512.0)]);
    }
}
