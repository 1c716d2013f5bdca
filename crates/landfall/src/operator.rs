//! The operator's commands on keys, PoPs, API keys and the feed.
//!
//! What a script takes (a token, a key, a list) goes to standard output; what a person reads
//! goes to standard error.

pub(crate) mod issuance;

use std::{
    fmt::Display,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    time::Duration,
};

use anyhow::Context;
use landfall_control::{
    AckState, PropertyId,
    admin::{self, ApiKey, Grant, Pop, PopEnrolment, Scope, Traffic},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use zeroize::Zeroizing;

use crate::{
    cli::{ApiKeyCommand, FeedCommand, KeysCommand, PopCommand, ScopeArg, TrafficArg},
    control_config,
};

/// The longest secret that is read, in bytes.
const MAX_SECRET: u64 = 4_096;

/// `landfall keys`
pub(crate) fn keys(command: &KeysCommand) -> anyhow::Result<()> {
    match command {
        KeysCommand::Init { dir } => init_keys(dir),
        KeysCommand::SealExternalAccount { authority, key_id, group_public_key } => {
            let mut secret = Zeroizing::new(String::new());
            let read = io::stdin().take(MAX_SECRET).read_to_string(&mut secret);
            read.context("cannot read the secret from standard input")?;
            let account = (authority, key_id.as_str());
            let sealed = admin::seal_external_account(account, &secret, group_public_key)?;
            print(&sealed)
        }
    }
}

fn init_keys(dir: &Path) -> anyhow::Result<()> {
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
        PopCommand::Add { name, addresses, output, config } => {
            let config = control_config(&config.config)?;
            let output = SecretOutput::open(output.as_deref())?;
            let added = admin::add_pop(&config, name, addresses).await;
            let PopEnrolment { token, signing_key, system_domain } =
                added.inspect_err(|_| output.discard())?;
            let place = output.write(&token)?;
            tell(&format!(
                "Added the PoP {name}. {place} is its token, shown this once:
put it into a file of mode 0600 on the PoP, and this into the PoP's edge.toml:

[feed]
url = \"http://ADDRESS OF THIS CONTROL PLANE\"
token_file = \"pop-token\"
signing_keys = [\"{signing_key}\"]

Customers' hostnames lead to names under the system domain, and these have to lead to the PoPs.
In the zone of the system domain, there should be:

{}",
                records(&system_domain, addresses)
            ))
        }
        PopCommand::List(arg) => {
            let pops = admin::list_pops(&control_config(&arg.config)?).await?;
            tell("NAME\tADDRESSES\tFEED\tTRAFFIC AND LAST REQUEST")?;
            pops.iter().try_for_each(|pop| print(&pop_line(pop)))
        }
        PopCommand::Traffic { name, traffic, config } => {
            let config = control_config(&config.config)?;
            let (traffic, word) = match traffic {
                TrafficArg::On => (Traffic::On, "takes"),
                TrafficArg::Off => (Traffic::Off, "no longer takes"),
            };
            admin::set_pop_traffic(&config, name, traffic).await?;
            tell(&format!("The PoP {name} {word} traffic of hostnames that are to be verified."))
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
        ApiKeyCommand::Add { name, scope, property, expires, output, config } => {
            let config = control_config(&config.config)?;
            let grant = Grant {
                scope: (*scope).into(),
                property: property.map(PropertyId),
                expires_at: expires.as_ref().map(after).transpose()?,
            };
            let output = SecretOutput::open(output.as_deref())?;
            let added = admin::add_api_key(&config, name, grant).await;
            let key = added.inspect_err(|_| output.discard())?;
            let place = output.write(&key)?;
            tell(&format!(
                "Added the API key {name} ({scope}). {place} is shown this once.",
                scope = grant.scope
            ))
        }
        ApiKeyCommand::List(arg) => {
            let keys = admin::list_api_keys(&control_config(&arg.config)?).await?;
            tell("NAME\tSCOPE\tPROPERTY\tMADE\tUSED\tSTATE")?;
            keys.iter().try_for_each(|key| print(&key_line(key)))
        }
        ApiKeyCommand::Revoke { name, property, config } => {
            let property = property.map(PropertyId);
            admin::revoke_api_key(&control_config(&config.config)?, name, property).await?;
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

/// What leads names under the system domain to a PoP, in the form of RFC 1035 section 5.
fn records(system_domain: &impl Display, addresses: &[IpAddr]) -> String {
    let record = |address: &IpAddr| {
        let kind = if address.is_ipv4() { "A" } else { "AAAA" };
        format!("*.{system_domain}. IN {kind} {address}")
    };
    addresses.iter().map(record).collect::<Vec<_>>().join("\n")
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
    let traffic = match pop.traffic {
        Traffic::On => "on",
        Traffic::Off => "off",
    };
    let asked = pop.seen_at.map_or_else(|| "never".to_owned(), at);
    let addresses = addresses.join(" ");
    format!("{}\t{addresses}\t{said}\ttraffic {traffic}, asked {asked}", pop.name)
}

fn words(state: AckState) -> &'static str {
    match state {
        AckState::InSync => "in sync",
        AckState::Behind => "behind",
        AckState::Diverged => "diverged",
    }
}

fn key_line(key: &ApiKey) -> String {
    let Grant { scope, property, expires_at } = key.grant;
    let reach = property.map_or("all".to_owned(), |PropertyId(id)| format!("property {id}"));
    let used =
        key.last_used_at.map_or("never used".to_owned(), |time| format!("used {}", at(time)));
    let state = match (key.revoked_at, expires_at) {
        (Some(time), _) => format!("revoked {}", at(time)),
        (None, Some(time)) if time <= OffsetDateTime::now_utc() => format!("expired {}", at(time)),
        (None, Some(time)) => format!("valid until {}", at(time)),
        (None, None) => "valid".to_owned(),
    };
    format!("{}\t{scope}\t{reach}\tmade {}\t{used}\t{state}", key.name, at(key.created_at))
}

impl From<ScopeArg> for Scope {
    fn from(scope: ScopeArg) -> Self {
        match scope {
            ScopeArg::Read => Self::Read,
            ScopeArg::Write => Self::Write,
            ScopeArg::Admin => Self::Admin,
        }
    }
}

/// Where a secret goes. A file is made before there is a secret: one that can't be written would
/// cost it.
enum SecretOutput<'a> {
    Standard,
    File { path: &'a Path, file: File },
}

impl<'a> SecretOutput<'a> {
    /// An existing file is never overwritten.
    fn open(path: Option<&'a Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Standard) };
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = opened.with_context(|| {
            let shown = path.display();
            match path.exists() {
                true => format!(
                    "{shown} is there already and is not overwritten: remove it, or name another \
                     file by `--output`"
                ),
                false => format!("cannot create {shown}"),
            }
        })?;
        Ok(Self::File { path, file })
    }

    /// Takes the file back: there is no secret for it.
    fn discard(&self) {
        if let Self::File { path, .. } = self {
            // At worst an empty file stays.
            let _ = fs::remove_file(path);
        }
    }

    /// Writes it, and says where it is.
    fn write(self, secret: &str) -> anyhow::Result<String> {
        match self {
            Self::Standard => {
                print(secret)?;
                Ok("The line on standard output".to_owned())
            }
            Self::File { path, mut file } => {
                let written = writeln!(file, "{secret}").and_then(|()| file.sync_all());
                written.with_context(|| format!("cannot write {}", path.display()))?;
                Ok(format!("The line in {}", path.display()))
            }
        }
    }
}

fn after(time: &Duration) -> anyhow::Result<OffsetDateTime> {
    let time = time::Duration::try_from(*time).ok();
    let at = time.and_then(|time| OffsetDateTime::now_utc().checked_add(time));
    at.context("`--expires` is too long a time")
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
