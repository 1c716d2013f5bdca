//! Landfall beside nginx, HAProxy and Caddy under the same loads, and beside two floors: the least
//! that a proxy of tokio and rustls could do.
//!
//! `comparison` has the rounds and what is done in them, `stage` what runs, `peers/` the peers'
//! configs, `report` the tables. `docs/performance.md` says what each row means.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a table")]

mod client;
mod comparison;
mod docs;
mod error;
mod generators;
mod handshakes;
mod identity;
mod idle;
mod latency;
mod machine;
mod metric;
mod options;
mod peers;
mod process;
mod report;
mod resumption;
mod servers;
mod stage;
mod statistics;
mod subject;
mod usage;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use self::{
    comparison::Comparison,
    error::LoadError,
    machine::Machine,
    options::{Docs, Options},
    peers::Logging,
    report::Report,
    servers::Role,
    stage::Stage,
};

/// Runs the comparison, or becomes one of its servers, as the command line says.
pub async fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let result = match words.split_first() {
        Some((first, rest)) if first == "serve" => serve(rest).await,
        _ => tokio::select! {
            result = compare(words) => result,
            error = interrupted() => Err(error),
        },
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{}", error.chain());
            ExitCode::FAILURE
        }
    }
}

async fn serve(words: &[String]) -> Result<ExitCode, LoadError> {
    let expected = "origin, memory CHAIN KEY, or pipe CHAIN KEY ORIGIN";
    let unknown = || LoadError::Option { word: words.join(" "), expected };
    servers::serve(Role::parse(words).ok_or_else(unknown)?).await.map(|()| ExitCode::SUCCESS)
}

/// Waits for a signal that ends a program. What runs ends with the comparison's value.
async fn interrupted() -> LoadError {
    let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = signals.map(signal) else {
        return LoadError::Interrupted;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    LoadError::Interrupted
}

async fn compare(words: Vec<String>) -> Result<ExitCode, LoadError> {
    let Options { plan, docs } =
        options::parse(words.into_iter(), env::var("LANDFALL_BENCH_ROUNDS").ok())?;
    raise_descriptors();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = workspace(root).join("target/bench");
    fs::create_dir_all(&folder).map_err(LoadError::file(&folder))?;
    let takes = plan.takes().as_secs().div_ceil(60);
    eprintln!("{} rounds, about {takes} minutes; logs are in {}", plan.rounds, folder.display());

    let at = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let start = Instant::now();
    let machine = Machine::this().await;
    let stage = Stage::start(&folder, Logging::Sessions).await?;
    let script = root.join("load/wrk.lua");
    let mut comparison = Comparison::prepare(stage, plan.clone(), script).await?;
    eprintln!("full handshakes are full, resumed ones resume; all negotiate the same");
    comparison.run().await;

    let Comparison { fixed_rate, samples, invalid, .. } = comparison;
    let rows = report::rows(&samples);
    let took_s = start.elapsed().as_secs();
    let at = at.format(&Rfc3339)?;
    let report = Report { at, took_s, machine, plan, fixed_rate, rows, invalid, samples };
    let path = folder.join("report.json");
    let json = serde_json::to_vec_pretty(&report)?;
    fs::write(&path, json).map_err(LoadError::file(&path))?;
    let tables = report.markdown();
    println!("{tables}");
    if docs == Docs::Write {
        docs::write(&workspace(root).join("docs/performance.md"), &tables)?;
    }
    eprintln!("every sample is in {}", path.display());
    Ok(if report.invalid.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn workspace(package: &Path) -> PathBuf {
    package.parent().unwrap_or(package).to_owned()
}

/// Allows as many open files as may be: this process is all clients at once.
fn raise_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // With fewer, opening the idle connections says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
