//! The operator's commands on certificates of CAs and our accounts there.

use anyhow::Context;
use landfall_control::admin::issuance::{
    self as admin, AccountFailure, AccountState, Outlook, WaitCount,
};
use time::OffsetDateTime;

use super::{at, counted, print, table, tell};
use crate::{
    cli::{CertificateCommand, IssuanceCommand},
    control_config,
};

/// `landfall certificate`
pub(crate) async fn certificate(command: &CertificateCommand) -> anyhow::Result<()> {
    let CertificateCommand::Revoke { name, reason, config } = command;
    let revoked =
        admin::revoke_certificates(&control_config(&config.config)?, name, reason).await?;
    let at_last = match reason.as_str() {
        "keyCompromise" => ", and within the hour in any case",
        _ => "",
    };
    tell(&format!(
        "{} of {name} will be revoked once another is served in its place{at_last}.\n\
         It is ordered at once. How far it is: `revocations` of the hostname's `explain` in the API.",
        counted(u64::try_from(revoked).unwrap_or(u64::MAX), "certificate"),
    ))
}

/// `landfall issuance`
pub(crate) async fn issuance(command: &IssuanceCommand) -> anyhow::Result<()> {
    match command {
        IssuanceCommand::Accounts(arg) => {
            let accounts = admin::list_accounts(&control_config(&arg.config)?).await?;
            let header = "CA\tACCOUNT\tKEY\tREGISTERED\tCONTACT\tNEXT KEY\tLAST FAILURE";
            table(header, accounts.iter().map(account_line))
        }
        IssuanceCommand::Rollover(args) => {
            let authority = &args.authority;
            admin::roll_over(&control_config(&args.config.config)?, authority).await?;
            tell(&format!(
                "The account at {authority} will get a new key once nothing else is asked of it; until then \
                 nothing more is.\nWhen `landfall issuance accounts` shows another KEY, it is done."
            ))
        }
        IssuanceCommand::Forget(args) => {
            let authority = &args.authority;
            admin::forget_account(&control_config(&args.config.config)?, authority).await?;
            tell(&format!(
                "Forgot the account at {authority}: an agent registers another one with its next order.\n\
                 DNS records that name the account (`accounturi` in CAA) have to name the new one, as \
                 `landfall issuance accounts` will show it."
            ))
        }
        IssuanceCommand::Retry(args) => {
            let authority = &args.authority;
            let jobs = admin::retry(&control_config(&args.config.config)?, authority).await?;
            tell(&format!(
                "{authority} is asked again at once: {} due.",
                match jobs {
                    1 => "1 job is".to_owned(),
                    more => format!("{more} jobs are"),
                }
            ))
        }
        IssuanceCommand::Forecast { at_once, seconds, json, config } => {
            let config = control_config(&config.config)?;
            let outlook = admin::forecast(&config, *at_once, *seconds).await?;
            match json {
                true => print(&serde_json::to_string(&outlook).context("cannot write JSON")?),
                false => print(&said(&outlook)),
            }
        }
    }
}

fn account_line(account: &AccountState) -> String {
    let optional = |time: Option<OffsetDateTime>| time.map_or_else(|| "never".to_owned(), at);
    let url = account.url.as_deref().unwrap_or("not registered");
    let next = account.successor.as_ref().map_or("none", |next| next.as_str());
    let contact = match account.contact.is_empty() {
        true => "none".to_owned(),
        false => account.contact.join(" "),
    };
    let failure = account.failure.as_ref().map_or_else(|| "none".to_owned(), failed);
    format!(
        "{}\t{url}\t{}\t{}\t{contact}\t{next}\t{failure}",
        account.authority,
        account.thumbprint.as_str(),
        optional(account.registered_at),
    )
}

fn failed(failure: &AccountFailure) -> String {
    let next = failure.next_at.map_or_else(|| "not by itself".to_owned(), at);
    // The CA's words are in one line, and in one column.
    let error: Vec<&str> = failure.error.split_whitespace().collect();
    format!("{} (failed {} times; again: {next})", error.join(" "), failure.attempts)
}

fn said(outlook: &Outlook) -> String {
    let Outlook { waiting, running, at_once, seconds, .. } = outlook;
    let first = match waiting {
        0 => "No job waits".to_owned(),
        1 => "1 job waits".to_owned(),
        more => format!("{more} jobs wait"),
    };
    let mut lines = vec![format!("{first}, and agents are at {running}.")];
    if outlook.left_out > 0 {
        lines.push(format!("{} more were not looked at.", outlook.left_out));
    }
    let pace = format!("{at_once} at once and {seconds} s for each");
    match (outlook.half_done_at, outlook.done_at) {
        _ if *waiting == 0 => {}
        (Some(half), Some(all)) => lines.push(format!(
            "With {pace}, half of them are issued at {}, and all at {}, if none fails and none is added.",
            at(half),
            at(all)
        )),
        (half, _) => {
            let half = half.map_or_else(|| "at no time seen".to_owned(), |half| format!("at {}", at(half)));
            lines.push(format!(
                "With {pace}, half of them are issued {half}, and of {} no end is seen.",
                outlook.never
            ));
        }
    }
    if !outlook.by_authority.is_empty() {
        let counts = outlook.by_authority.iter().map(|(name, count)| format!("{name} {count}"));
        lines.push(format!("Issued by: {}.", counts.collect::<Vec<_>>().join(", ")));
    }
    if !outlook.waits.is_empty() {
        lines.push("JOBS\tWAIT FOR\tCA\tOF\tBECAUSE".to_owned());
    }
    lines.extend(outlook.waits.iter().map(wait_line));
    lines.join("\n")
}

fn wait_line(wait: &WaitCount) -> String {
    let authority = wait.authority.as_ref().map_or("any", |name| name.as_str());
    let subject = wait.subject.as_deref().filter(|subject| !subject.is_empty()).unwrap_or("all");
    format!("{}\t{}\t{authority}\t{subject}\t{}", wait.jobs, wait.reason, wait.class.unwrap_or("-"))
}
