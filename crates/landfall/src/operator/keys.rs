//! The operator's commands on the group key and what is sealed to it.

use std::{
    fs::DirBuilder,
    io::{self, Read},
    os::unix::fs::DirBuilderExt,
    path::Path,
};

use anyhow::Context;
use landfall_control::admin::{
    self,
    keys::{GroupKeyUse, Replaced, Replacement, SealedHostname, SealedTo, Sealings},
};
use zeroize::Zeroizing;

use super::{counted, print, table, tell};
use crate::{cli::KeysCommand, control_config};

/// The longest secret that is read, in bytes.
const MAX_SECRET: u64 = 4_096;

/// `landfall keys`
pub(crate) async fn keys(command: &KeysCommand) -> anyhow::Result<()> {
    match command {
        KeysCommand::Init { dir } => init(dir),
        KeysCommand::InUse { hostnames: None, config } => {
            let used = admin::keys::group_keys_in_use(&control_config(&config.config)?).await?;
            list(&used)
        }
        KeysCommand::InUse { hostnames: Some(key), config } => {
            let config = control_config(&config.config)?;
            name(key, &admin::keys::hostnames_sealed_to(&config, key).await?)
        }
        KeysCommand::Replace { key, compromised, config } => {
            let replaced = match compromised {
                true => Replaced::Revoked,
                false => Replaced::Unrevoked,
            };
            let config = control_config(&config.config)?;
            let asked = admin::keys::replace_certificates(&config, key, replaced).await?;
            tell(&said(key, &asked))
        }
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

fn init(dir: &Path) -> anyhow::Result<()> {
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

fn list(used: &GroupKeyUse) -> anyhow::Result<()> {
    let line = |(key, count): &(String, Sealings)| {
        let Sealings { hostnames, certificates, accounts, tickets } = count;
        let note = if *key == used.current { "new secrets are sealed to it" } else { "former" };
        format!("{key}\t{hostnames}\t{certificates}\t{accounts}\t{tickets}\t{note}")
    };
    let header = "GROUP KEY\tHOSTNAMES\tCERTIFICATES\tACCOUNTS\tTICKET SECRETS\tUSE";
    table(header, used.by_key.iter().map(line))
}

fn name(key: &str, sealed: &SealedTo) -> anyhow::Result<()> {
    let line = |SealedHostname { name, issuers, next }: &SealedHostname| {
        format!("{name}\t{}\t{next}", issuers.join(" "))
    };
    table("HOSTNAME\tISSUERS\tNEXT CERTIFICATE", sealed.hostnames.iter().map(line))?;
    let named = u64::try_from(sealed.hostnames.len()).unwrap_or(u64::MAX);
    match sealed.all.saturating_sub(named) {
        0 if named == 0 => tell(&format!("No certificate's key is sealed to {key}.")),
        0 => Ok(()),
        more => tell(&format!("and {more} more")),
    }
}

fn said(key: &str, replacement: &Replacement) -> String {
    let Replacement { asked, waiting, left, revoked } = replacement;
    if asked + waiting == 0 && left.is_empty() {
        return format!(
            "No certificate's key is sealed to {key}. `landfall keys in-use` lists the keys that are in use."
        );
    }
    let mut lines = vec![format!(
        "Asked for new certificates for {}; for {waiting} more they were asked for already.",
        counted(*asked, "hostname")
    )];
    if *revoked > 0 {
        lines.push(format!(
            "{} will be revoked once another is served in its place, and within the hour in any case.",
            counted(*revoked, "certificate")
        ));
    }
    for (reason, count) in left {
        let hostnames = counted(*count, "hostname");
        lines.push(format!("Not for {hostnames} ({reason}): {}", remedy(reason)));
    }
    lines.push(format!(
        "What is left: `landfall keys in-use --hostnames {key}`; how long it takes: `landfall issuance forecast`."
    ));
    lines.join("\n")
}

/// What helps where no certificate can be issued.
fn remedy(reason: &str) -> &'static str {
    match reason {
        "certificate_uploaded" => "their owners have to upload others.",
        "dns_left" => "their DNS no longer leads here; run this again once it does.",
        "hostname_not_active" => "they have to be verified first.",
        "name_not_held" => "other properties have their names; nothing is served for them.",
        _ => "the control plane's log says why.",
    }
}
