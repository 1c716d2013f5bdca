//! The operator's commands on keys, PoPs, API keys and the feed.
//!
//! What a script takes (a token, a key, a list) goes to standard output; what a person reads
//! goes to standard error.

use std::{
    fs::DirBuilder,
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
};

use anyhow::Context;
use landfall_control::{
    AckState,
    admin::{self, ApiKey, Pop, PopEnrolment},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    cli::{ApiKeyCommand, FeedCommand, KeysCommand, PopCommand},
    control_config,
};

/// `landfall keys`
pub(crate) fn keys(command: &KeysCommand) -> anyhow::Result<()> {
    let KeysCommand::Init { dir } = command;
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("cannot create {}", dir.display()))?;
    let keys = admin::init_group_keys(dir)?;
    tell(&format!(
        "Made the group key {}.
  {}: for the PoPs alone (keys.group_key_files in edge.toml).
    Keep a copy offline: without it no sealed key can be opened again.
  {}: for the control plane (keys.group_public_key_file in control.toml).",
        keys.id,
        keys.private.display(),
        keys.public.display(),
    ))
}

/// `landfall pop`
pub(crate) async fn pop(command: &PopCommand) -> anyhow::Result<()> {
    match command {
        PopCommand::Add { name, addresses, config } => {
            let config = control_config(&config.config)?;
            let PopEnrolment { token, signing_key } =
                admin::add_pop(&config, name, addresses).await?;
            print(token.as_str())?;
            tell(&format!(
                "Added the PoP {name}. The line on standard output is its token, shown this once:
put it into a file of mode 0600 on the PoP, and this into the PoP's edge.toml:

[feed]
url = \"http://ADDRESS OF THIS CONTROL PLANE\"
token_file = \"pop-token\"
signing_keys = [\"{signing_key}\"]"
            ))
        }
        PopCommand::List(arg) => {
            let pops = admin::list_pops(&control_config(&arg.config)?).await?;
            pops.iter().try_for_each(|pop| print(&pop_line(pop)))
        }
        PopCommand::Remove { name, config } => {
            admin::remove_pop(&control_config(&config.config)?, name).await?;
            tell(&format!("Removed the PoP {name}: its token is refused from now on."))
        }
    }
}

/// `landfall api-key`
pub(crate) async fn api_key(command: &ApiKeyCommand) -> anyhow::Result<()> {
    match command {
        ApiKeyCommand::Add { name, config } => {
            let key = admin::add_api_key(&control_config(&config.config)?, name).await?;
            print(key.as_str())?;
            tell(&format!(
                "Added the API key {name}. The line on standard output is shown this once."
            ))
        }
        ApiKeyCommand::List(arg) => {
            let keys = admin::list_api_keys(&control_config(&arg.config)?).await?;
            keys.iter().try_for_each(|key| print(&key_line(key)))
        }
        ApiKeyCommand::Revoke { name, config } => {
            admin::revoke_api_key(&control_config(&config.config)?, name).await?;
            tell(&format!("Revoked the API key {name}."))
        }
    }
}

/// `landfall feed`
pub(crate) async fn feed(command: &FeedCommand) -> anyhow::Result<()> {
    match command {
        FeedCommand::NewEpoch(arg) => {
            let epoch = admin::new_epoch(&control_config(&arg.config)?).await?;
            tell(&format!("The feed is at epoch {epoch}: every PoP takes a snapshot."))
        }
        FeedCommand::AllowShrink(arg) => {
            admin::allow_shrink(&control_config(&arg.config)?).await?;
            let minutes = admin::SHRINK_WINDOW.as_secs() / 60;
            tell(&format!("For {minutes} minutes, PoPs accept snapshots with far fewer hostnames."))
        }
    }
}

fn pop_line(pop: &Pop) -> String {
    let addresses: Vec<String> = pop.addresses.iter().map(ToString::to_string).collect();
    let said = match &pop.ack {
        Some(ack) => format!(
            "epoch {} revision {} {}, {} rejected, at {}",
            ack.epoch,
            ack.applied,
            words(ack.state),
            ack.rejected.len(),
            at(ack.seen_at)
        ),
        None => "never seen".to_owned(),
    };
    format!("{}\t{}\t{said}", pop.name, addresses.join(" "))
}

fn words(state: AckState) -> &'static str {
    match state {
        AckState::InSync => "in sync",
        AckState::Behind => "behind",
        AckState::Diverged => "diverged",
    }
}

fn key_line(key: &ApiKey) -> String {
    let state = match key.revoked_at {
        Some(time) => format!("revoked {}", at(time)),
        None => "valid".to_owned(),
    };
    format!("{}\tmade {}\t{state}", key.name, at(key.created_at))
}

/// RFC 3339, in whole seconds.
fn at(time: OffsetDateTime) -> String {
    let time = time.replace_nanosecond(0).unwrap_or(time);
    time.format(&Rfc3339).unwrap_or_else(|_| time.unix_timestamp().to_string())
}

fn print(line: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{line}").context("cannot write to standard output")
}

fn tell(text: &str) -> anyhow::Result<()> {
    writeln!(io::stderr(), "{text}").context("cannot write to standard error")
}
