//! The command line.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum, builder::PossibleValuesParser};
use clap_complete::Shell;
use landfall_control::{AuthorityName, HostPattern, admin::issuance::REVOCATION_REASONS};

/// What `--version` tells. A build of a package says of which commit it is.
const VERSION: &str = match option_env!("LANDFALL_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// The edge for custom hostnames.
#[derive(Debug, Parser)]
#[command(name = "landfall", version = VERSION, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// How log lines look [default: text on a terminal, json otherwise]
    #[arg(long, global = true, value_enum)]
    pub(crate) log_format: Option<LogFormat>,
    /// Stops this process when its parent, the process with this id, ends
    #[arg(long, value_name = "PID", global = true, hide = true)]
    pub(crate) exit_with_parent: Option<u32>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What a log line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For a person.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the control plane
    Control(ConfigArg),
    /// Runs a PoP's edge
    Edge(EdgeConfigArg),
    /// Has the running edge hand its listeners over to a new process, with this program's file and
    /// the config file as they are now
    ///
    /// Exits with 0 once the new process serves, with 64 where the config has problems, and with 1 for whatever else
    /// keeps a new one from serving: standard error says what, and the edge goes on as it was.
    Reload(EdgeConfigArg),
    /// Runs an edge, a control plane and two origins on this machine, with nothing to set up
    Demo(DemoArgs),
    /// Checks a config file of either kind and names everything that is wrong with it
    CheckConfig {
        /// The file; one with `[api]` or `system_domain` is the control plane's
        file: PathBuf,
        /// Reads the keys, tokens and roots that it names as well, as the user that this is run by
        #[arg(long)]
        files: bool,
    },
    /// Makes the keys that the operator holds
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Enrols PoPs at the control plane
    #[command(subcommand)]
    Pop(PopCommand),
    /// Manages the keys of the API's callers
    #[command(subcommand)]
    ApiKey(ApiKeyCommand),
    /// Steers what the control plane's feed tells the PoPs
    #[command(subcommand)]
    Feed(FeedCommand),
    /// Writes a backup of the control plane's state, also while it runs
    Backup {
        /// A new folder for it; it holds secrets and is readable by its owner alone
        #[arg(long, value_name = "FOLDER")]
        output: PathBuf,
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Makes the control plane's state from a backup, and starts a new epoch of the feed
    Restore {
        /// The backup
        #[arg(long, value_name = "FOLDER")]
        from: PathBuf,
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Revokes certificates
    #[command(subcommand)]
    Certificate(CertificateCommand),
    /// Looks after the accounts at CAs, and says when what waits will be issued
    #[command(subcommand)]
    Issuance(IssuanceCommand),
    /// Prints what completes this command's arguments in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Writes a manual page for each command
    #[command(hide = true)]
    Manual {
        /// The folder for them, which exists
        dir: PathBuf,
    },
}

/// Names the control plane's config file.
#[derive(Debug, Args)]
pub(crate) struct ConfigArg {
    /// The control plane's config file
    #[arg(long, value_name = "FILE", default_value = "/etc/landfall/control.toml")]
    pub(crate) config: PathBuf,
}

/// Names an edge's config file.
#[derive(Debug, Args)]
pub(crate) struct EdgeConfigArg {
    /// The edge's config file
    #[arg(long, value_name = "FILE", default_value = "/etc/landfall/edge.toml")]
    pub(crate) config: PathBuf,
}

/// Where the demo keeps its files, and its ports.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The folder for keys, configs and state; used again at the next start
    #[arg(long, default_value = "demo")]
    pub(crate) dir: PathBuf,
    /// The edge's port for TLS; 0 picks a free one, as for the other ports
    #[arg(long, default_value_t = 8443)]
    pub(crate) https_port: u16,
    /// The edge's port for plain HTTP
    #[arg(long, default_value_t = 8080)]
    pub(crate) http_port: u16,
    /// The control plane's port
    #[arg(long, default_value_t = 8081)]
    pub(crate) api_port: u16,
    /// The edge's port for health and metrics
    #[arg(long, default_value_t = 9090)]
    pub(crate) admin_port: u16,
    /// The port of the demo's own DNS server, for UDP and TCP
    #[arg(long, default_value_t = 5300)]
    pub(crate) dns_port: u16,
}

/// `landfall keys`
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Makes the fleet's group key: group.key for PoPs, group.pub for the control plane
    Init {
        /// The folder for the two files; existing ones are never overwritten
        #[arg(long, default_value = ".")]
        dir: PathBuf,
    },
    /// Counts what is sealed to each group key: one that is not listed can be taken from the PoPs
    InUse {
        /// Names the first 100 hostnames that are served by a certificate whose key is sealed to this group key
        #[arg(long, value_name = "KEY_ID")]
        hostnames: Option<String>,
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Has every certificate issued anew whose key is sealed to a former group key; may be run again
    Replace {
        /// The former group key's id, as `landfall keys in-use` lists it
        #[arg(value_name = "KEY_ID")]
        key: String,
        /// Others may have the key: has CAs revoke what is replaced, within the hour
        #[arg(long)]
        compromised: bool,
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Seals the HMAC key of an external account at a CA; it is read from standard input
    SealExternalAccount {
        /// What the configuration calls the CA, such as zerossl
        #[arg(long)]
        authority: AuthorityName,
        /// The key's id at the CA
        #[arg(long)]
        key_id: String,
        /// The public half of the fleet's group key
        #[arg(long)]
        group_public_key: PathBuf,
    },
}

/// `landfall pop`
#[derive(Debug, Subcommand)]
pub(crate) enum PopCommand {
    /// Enrols a PoP; its token goes to standard output or into a file, this once
    Add {
        /// A name, such as fra1
        name: String,
        /// An address that clients reach the PoP at; may be given several times
        #[arg(long = "address", value_name = "IP", required = true, num_args = 1..)]
        addresses: Vec<IpAddr>,
        /// A new file to write the token to, readable by its owner alone, instead of standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Gives a PoP another token; the one it has is refused from then on
    RenewToken {
        /// The PoP's name
        name: String,
        /// A new file to write the token to, readable by its owner alone, instead of standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Lists the PoPs
    List(ConfigArg),
    /// Says whether hostnames may lead to a PoP: without traffic, its addresses verify none
    Traffic {
        /// The PoP's name
        name: String,
        /// Whether they may
        traffic: TrafficArg,
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Removes a PoP; its token is refused from then on
    Remove {
        /// The PoP's name
        name: String,
        #[command(flatten)]
        config: ConfigArg,
    },
}

/// Whether hostnames may lead to a PoP
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TrafficArg {
    /// They may
    On,
    /// They may not
    Off,
}

/// `landfall api-key`
#[derive(Debug, Subcommand)]
pub(crate) enum ApiKeyCommand {
    /// Makes a key; it goes to standard output or into a file, this once
    Add {
        /// A name to tell it by
        name: String,
        /// What it may do; each may do what those before it may
        #[arg(long, value_enum, default_value_t = ScopeArg::Write)]
        scope: ScopeArg,
        /// The id of the one property that it is for [default: all]
        #[arg(long, value_name = "ID")]
        property: Option<i64>,
        /// How long it is valid, such as 90d [default: until it is revoked]
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expires: Option<Duration>,
        /// A new file to write it to, readable by its owner alone, instead of standard output
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Lists the keys by name
    List(ConfigArg),
    /// Revokes a key
    Revoke {
        /// The key's name
        name: String,
        /// The id of the property that it is for, where it is for one
        #[arg(long, value_name = "ID")]
        property: Option<i64>,
        #[command(flatten)]
        config: ConfigArg,
    },
}

/// What an API key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScopeArg {
    /// Look.
    Read,
    /// Change properties, hostnames and certificates.
    Write,
    /// Manage keys, and read the audit log.
    Admin,
}

/// `landfall feed`
#[derive(Debug, Subcommand)]
pub(crate) enum FeedCommand {
    /// Starts a new epoch: to be run once the control plane's database was restored by other means than
    /// `landfall restore`
    NewEpoch(ConfigArg),
    /// Makes the key that is to sign the feed next, for the PoPs to know it before it does
    PrepareSigningKey(ConfigArg),
    /// Takes the prepared key into use; the control plane must not run meanwhile
    SwitchSigningKey(ConfigArg),
    /// Lets PoPs accept, for an hour, snapshots with far fewer hostnames than they have
    AllowShrink(ConfigArg),
}

/// `landfall certificate`
#[derive(Debug, Subcommand)]
pub(crate) enum CertificateCommand {
    /// Revokes the certificates that a hostname has of a CA, once others have taken their place
    Revoke {
        /// The hostname
        name: HostPattern,
        /// Why (RFC 5280 section 5.3.1); with keyCompromise within the hour in any case
        #[arg(long, value_parser = PossibleValuesParser::new(REVOCATION_REASONS))]
        reason: String,
        #[command(flatten)]
        config: ConfigArg,
    },
}

/// `landfall issuance`
#[derive(Debug, Subcommand)]
pub(crate) enum IssuanceCommand {
    /// Lists our accounts at CAs
    Accounts(ConfigArg),
    /// Gives the account at a CA a new key
    Rollover(AuthorityArgs),
    /// Forgets the account at a CA: another one is registered
    Forget(AuthorityArgs),
    /// Lets a CA be asked again at once, for what is on hold there or failed there last
    Retry(AuthorityArgs),
    /// Says when what waits will be issued, and what waits for what
    Forecast {
        /// How many jobs agents do at once [default: 8 for each PoP that was seen of late]
        #[arg(long, value_name = "JOBS", value_parser = clap::value_parser!(u32).range(1..))]
        at_once: Option<u32>,
        /// How long each takes
        #[arg(long, value_name = "SECONDS", default_value_t = 10,
              value_parser = clap::value_parser!(u32).range(1..))]
        seconds: u32,
        /// One JSON object
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArg,
    },
}

/// Names a CA.
#[derive(Debug, Args)]
pub(crate) struct AuthorityArgs {
    /// What the configuration calls the CA, such as lets_encrypt
    pub(crate) authority: AuthorityName,
    #[command(flatten)]
    pub(crate) config: ConfigArg,
}

impl Command {
    /// Whether the command runs until it is stopped, and logs.
    pub(crate) fn is_server(&self) -> bool {
        match self {
            Self::Control(_) | Self::Edge(_) => true,
            Self::Reload(_)
            | Self::Demo(_)
            | Self::CheckConfig { .. }
            | Self::Keys(_)
            | Self::Pop(_)
            | Self::ApiKey(_)
            | Self::Feed(_)
            | Self::Backup { .. }
            | Self::Restore { .. }
            | Self::Certificate(_)
            | Self::Issuance(_)
            | Self::Completions { .. }
            | Self::Manual { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn takes_several_addresses_of_a_pop() {
        let line = "landfall pop add fra1 --address 192.0.2.1 2001:db8::1 --config control.toml";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let Command::Pop(PopCommand::Add { name, addresses, config, .. }) = cli.command else {
            panic!("{cli:?}");
        };
        assert_eq!((name.as_str(), addresses.len()), ("fra1", 2));
        assert_eq!(config.config, PathBuf::from("control.toml"));
    }
}
