//! The `landfall` executable: reads the command line, wires what was asked for, reports errors.
//!
//! What an edge and a control plane are stands in `landfall-edge` and `landfall-control`. Here
//! are only their config files ([`config`]), the operator's commands ([`operator`]) and the
//! [`demo`]. Start reading at [`run`].

mod cli;
mod config;
mod demo;
mod logging;
mod operator;
mod process;

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use landfall_control::config::{ControlConfig, RawControlConfig};
use landfall_edge::config::{EdgeConfig, RawEdgeConfig};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
};

use crate::{
    cli::{Cli, Command, DemoArgs},
    config::{ConfigError, ConfigFile, ConfigKind},
};

/// The system's would keep what a burst of load has used, and `limits.memory` goes by what the
/// process holds: an edge that was once full would turn everybody away for ever.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The command line or a config file is wrong (`EX_USAGE` of sysexits.h).
const EX_USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output and is no error; clap knows.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EX_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let log = cli.command.is_server().then(|| logging::start(cli.log_format));
    let Err(error) = run(cli) else { return ExitCode::SUCCESS };
    if error.is::<ConfigError>() {
        complain(&format!("{error:#}"));
        return ExitCode::from(EX_USAGE);
    }
    match log {
        Some(_) => tracing::error!(error = format!("{error:#}"), "stopped"),
        None => complain(&format!("landfall: {error:#}")),
    }
    ExitCode::FAILURE
}

/// Does what the command line says.
fn run(cli: Cli) -> anyhow::Result<()> {
    if let Some(parent) = cli.exit_with_parent {
        process::exit_with_parent(parent).context("cannot follow the parent process")?;
    }
    match cli.command {
        Command::Control(arg) => control(&arg.config),
        Command::Edge(arg) => edge(&arg.config),
        Command::Demo(args) => demo(&args),
        Command::CheckConfig { file } => check_config(&file),
        Command::Keys(command) => operator::keys(&command),
        Command::Pop(command) => one_thread()?.block_on(operator::pop(&command)),
        Command::ApiKey(command) => one_thread()?.block_on(operator::api_key(&command)),
        Command::Feed(command) => one_thread()?.block_on(operator::feed(&command)),
        Command::Certificate(command) => {
            one_thread()?.block_on(operator::issuance::certificate(&command))
        }
        Command::Issuance(command) => {
            one_thread()?.block_on(operator::issuance::issuance(&command))
        }
    }
}

fn control(path: &Path) -> anyhow::Result<()> {
    let config = control_config(path)?;
    process::keep_memory_private().context("cannot turn core dumps off")?;
    process::raise_file_limit();
    let runtime = Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the async runtime")?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
        let shutdown = async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        Ok(landfall_control::run(config, shutdown).await?)
    })
}

fn edge(path: &Path) -> anyhow::Result<()> {
    let config = edge_config(path)?;
    process::keep_memory_private().context("cannot turn core dumps off")?;
    process::raise_file_limit();
    Ok(landfall_edge::run(&config)?)
}

fn demo(args: &DemoArgs) -> anyhow::Result<()> {
    // Children are tied to the thread that starts them: the one that blocks here.
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    Ok(runtime.context("cannot start the async runtime")?.block_on(demo::run(args))?)
}

fn check_config(path: &Path) -> anyhow::Result<()> {
    match ConfigFile::read(path)?.kind()? {
        ConfigKind::Control => drop(control_config(path)?),
        ConfigKind::Edge => drop(edge_config(path)?),
    }
    writeln!(io::stdout(), "{}: ok", path.display()).context("cannot write")
}

fn control_config(path: &Path) -> Result<ControlConfig, ConfigError> {
    ConfigFile::read(path)?.load(RawControlConfig::check)
}

fn edge_config(path: &Path) -> Result<EdgeConfig, ConfigError> {
    ConfigFile::read(path)?.load(RawEdgeConfig::check)
}

/// For commands that do one thing after another.
fn one_thread() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start the async runtime")
}

fn complain(text: &str) {
    // Nobody is left to tell where standard error is closed.
    let _ = writeln!(io::stderr(), "{text}");
}
