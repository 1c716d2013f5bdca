//! The operator's commands on keys, PoPs, API keys and the feed.
//!
//! What a script takes (a token, a key, a table with its header) goes to standard output; what a person
//! reads goes to standard error.

pub(crate) mod issuance;
pub(crate) mod keys;

use std::{
    fmt::Display,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use anyhow::Context;
use landfall_control::{
    AckState, Epoch, PropertyId, Revision,
    admin::{self, ApiKey, Grant, Pop, PopAck, PopEnrolment, Scope, Traffic},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    cli::{ApiKeyCommand, FeedCommand, PopCommand, ScopeArg, TrafficArg},
    control_config,
};

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
            let port = config.api_port();
            tell(&format!(
                "Added the PoP {name}. {place} is its token, shown this once:
put it into a file of mode 0600 on the PoP, and this into the PoP's edge.toml:

[feed]
url = \"http://ADDRESS OF THIS CONTROL PLANE:{port}\"
token_file = \"/etc/landfall/pop-token\"
signing_keys = [\"{signing_key}\"]

Customers' hostnames lead to names under the system domain, and these have to lead to the PoPs.
In the zone of the system domain, there should be:

{}",
                records(&system_domain, addresses)
            ))
        }
        PopCommand::RenewToken { name, output, config } => {
            let config = control_config(&config.config)?;
            let output = SecretOutput::open(output.as_deref())?;
            let renewed = admin::renew_pop_token(&config, name).await;
            let token = renewed.inspect_err(|_| output.discard())?;
            let place = output.write(&token)?;
            tell(&format!(
                "{place} is the new token of the PoP {name}, shown this once: put it where the PoP's \
                 feed.token_file says, and reload its edge. The old one is refused from now on; until \
                 then the PoP serves what it has."
            ))
        }
        PopCommand::List(arg) => {
            let config = control_config(&arg.config)?;
            // First: a PoP is not shown behind for a change in between.
            let head = admin::feed_head(&config).await?;
            let pops = admin::list_pops(&config).await?;
            let header = "NAME\tADDRESSES\tFEED\tTRAFFIC AND LAST REQUEST";
            table(header, pops.iter().map(|pop| pop_line(pop, head)))
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
            table("NAME\tSCOPE\tPROPERTY\tMADE\tUSED\tSTATE", keys.iter().map(key_line))
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
        FeedCommand::PrepareSigningKey(arg) => {
            let prepared = admin::keys::prepare_signing_key(&control_config(&arg.config)?).await?;
            let (next, current) = prepared;
            print(&format!("signing_keys = [\"{current}\", \"{next}\"]"))?;
            tell(
                "Put that line into [feed] of edge.toml of every PoP: the key that will sign the feed, after \
                 the one that signs now. Reload the edges.
Then stop the control plane, run `landfall feed switch-signing-key`, and start it again.",
            )
        }
        FeedCommand::SwitchSigningKey(arg) => {
            let key = admin::keys::switch_signing_key(&control_config(&arg.config)?).await?;
            tell(&format!(
                "From its next start on, the control plane signs the feed with {key}. PoPs that don't \
                 know it serve what they have and take nothing new."
            ))
        }
        FeedCommand::AllowShrink(arg) => {
            admin::allow_shrink(&control_config(&arg.config)?).await?;
            let minutes = admin::SHRINK_WINDOW.as_secs() / 60;
            tell(&format!("For {minutes} minutes, PoPs accept snapshots with far fewer hostnames."))
        }
    }
}

/// `landfall backup`
pub(crate) async fn back_up(config: &Path, to: &Path) -> anyhow::Result<()> {
    admin::backup::back_up(&control_config(config)?, to).await?;
    tell(&format!(
        "{} has the database, the feed's signing key and the internal CA. It needs the group's public key \
         and the config file beside it; the group's private key is in no backup of the control plane.",
        to.display()
    ))
}

/// `landfall restore`
pub(crate) async fn restore(config: &Path, from: &Path) -> anyhow::Result<()> {
    let config = control_config(config)?;
    let epoch = admin::backup::restore(&config, from).await?;
    tell(&format!(
        "{} is the control plane's state now. The feed is at epoch {epoch}: every PoP takes a snapshot \
         once the control plane runs.",
        from.display()
    ))
}

/// What leads names under the system domain to a PoP, in the form of RFC 1035 section 5.
fn records(system_domain: &impl Display, addresses: &[IpAddr]) -> String {
    let record = |address: &IpAddr| {
        let kind = if address.is_ipv4() { "A" } else { "AAAA" };
        format!("*.{system_domain}. IN {kind} {address}")
    };
    addresses.iter().map(record).collect::<Vec<_>>().join("\n")
}

fn pop_line(pop: &Pop, (epoch, revision): (Epoch, Revision)) -> String {
    let addresses: Vec<String> = pop.addresses.iter().map(ToString::to_string).collect();
    let said = match &pop.ack {
        Some(ack) => format!(
            "epoch {} revision {} {}, {} rejected, at {}",
            ack.epoch,
            ack.applied,
            stands(ack, epoch, revision),
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
    let refused = pop.refused_at.filter(|_| pop.is_refused());
    let refused = refused.map(|time| format!(", another token refused {}", at(time)));
    let refused = refused.unwrap_or_default();
    let addresses = addresses.join(" ");
    format!("{}\t{addresses}\t{said}\ttraffic {traffic}, asked {asked}{refused}", pop.name)
}

/// What a PoP said last, beside where the feed is.
fn stands(ack: &PopAck, epoch: Epoch, revision: Revision) -> String {
    if ack.epoch != epoch {
        return format!("not at the feed's epoch {epoch} yet: its /readyz says why");
    }
    match revision.0.saturating_sub(ack.applied.0) {
        0 => words(ack.state).to_owned(),
        behind => format!("{behind} behind the feed"),
    }
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

/// As in "1 job" and "2 jobs".
fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// A header and rows, their columns separated by tabs.
fn table(header: &str, mut rows: impl Iterator<Item = String>) -> anyhow::Result<()> {
    print(header)?;
    rows.try_for_each(|row| print(&row))
}

fn print(line: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{line}").context("cannot write to standard output")
}

fn tell(text: &str) -> anyhow::Result<()> {
    writeln!(io::stderr(), "{text}").context("cannot write to standard error")
}
