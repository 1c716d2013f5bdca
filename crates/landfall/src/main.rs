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

use anyhow::{Context, bail};
use clap::{CommandFactory, Parser};
use landfall_control::config::{ControlConfig, RawControlConfig};
use landfall_edge::{
    config::{EdgeConfig, RawEdgeConfig},
    handover::{self, Outcome, Succession},
    server::Signals,
};
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
        Command::Reload(arg) => reload(&arg.config),
        Command::Demo(args) => demo(&args),
        Command::CheckConfig { file, files: false } => check_config(&file, Extent::File),
        Command::CheckConfig { file, files: true } => check_config(&file, Extent::FilesToo),
        Command::Keys(command) => one_thread()?.block_on(operator::keys::keys(&command)),
        Command::Pop(command) => one_thread()?.block_on(operator::pop(&command)),
        Command::ApiKey(command) => one_thread()?.block_on(operator::api_key(&command)),
        Command::Feed(command) => one_thread()?.block_on(operator::feed(&command)),
        Command::Backup { output, config } => {
            one_thread()?.block_on(operator::back_up(&config.config, &output))
        }
        Command::Restore { from, config } => {
            one_thread()?.block_on(operator::restore(&config.config, &from))
        }
        Command::Certificate(command) => {
            one_thread()?.block_on(operator::issuance::certificate(&command))
        }
        Command::Issuance(command) => {
            one_thread()?.block_on(operator::issuance::issuance(&command))
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "landfall", &mut script);
            io::stdout().write_all(&script).context("cannot write")
        }
        Command::Manual { dir } => {
            clap_mangen::generate_to(Cli::command(), &dir).context("cannot write the manual pages")
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
    if handover::is_launcher() {
        return Ok(handover::launch()?);
    }
    let signals = Signals::listen().context("cannot handle signals")?;
    let succession = Succession::receive()?;
    let config = match edge_config(path) {
        Ok(config) => config,
        Err(error) => {
            if let Some(succession) = succession {
                succession.refuse(&error.to_string());
            }
            return Err(error.into());
        }
    };
    process::keep_memory_private().context("cannot turn core dumps off")?;
    process::raise_file_limit();
    Ok(landfall_edge::run(&config, succession, signals)?)
}

fn reload(path: &Path) -> anyhow::Result<()> {
    let goes_on =
        |_: &ConfigError| complain("landfall: the edge goes on as it was; what is to be mended:");
    let config = edge_config(path).inspect_err(goes_on)?;
    match handover::ask(&config.server.run_directory)? {
        Outcome::TakenOver { pid } => {
            writeln!(io::stdout(), "process {pid} has taken over").context("cannot write")
        }
        Outcome::Refused { reason } => bail!("the edge goes on as it was: {reason}"),
    }
}

fn demo(args: &DemoArgs) -> anyhow::Result<()> {
    // Children are tied to the thread that starts them: the one that blocks here.
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    Ok(runtime.context("cannot start the async runtime")?.block_on(demo::run(args))?)
}

/// How far a check goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// The config alone.
    File,
    /// The files that it names as well.
    FilesToo,
}

fn check_config(path: &Path, extent: Extent) -> anyhow::Result<()> {
    let file = ConfigFile::read(path)?;
    let reads_files = extent == Extent::FilesToo;
    let (whose, problems) = match file.kind()? {
        ConfigKind::Control => {
            let config = control_config(path)?;
            ("a control plane's", reads_files.then(|| landfall_control::check_files(&config)))
        }
        ConfigKind::Edge => {
            let config = edge_config(path)?;
            ("an edge's", reads_files.then(|| landfall_edge::check_files(&config)))
        }
    };
    let files = match problems {
        None => "; the files that it names were not looked at",
        Some(problems) => {
            file.refuse(problems)?;
            ", and so are the files that it names"
        }
    };
    let ok = format!("{}: {whose} config is ok{files}", path.display());
    writeln!(io::stdout(), "{ok}").context("cannot write")
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
