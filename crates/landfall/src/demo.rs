//! `landfall demo`: a control plane, an edge, two origins, a DNS server and, where pebble is installed, a CA
//! on this machine, with nothing to set up.
//!
//! The control plane and the edge are child processes with config files of their own, which run
//! as well without the demo. All state is in one folder and is used again at the next start.

mod api;
mod children;
mod customer;
mod dns;
mod enrolment;
mod error;
mod files;
mod issuer;
mod origins;
mod pebble;
mod ports;
mod probe;

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use tokio::signal::unix::{SignalKind, signal};

use self::{
    api::{Api, Property},
    children::Children,
    dns::{Dns, Sockets},
    enrolment::Enrolment,
    files::Files,
    issuer::Issuer,
    origins::Origins,
    pebble::Pebble,
    ports::Ports,
};
pub(crate) use self::{error::DemoError, ports::Reserved};
use crate::cli::DemoArgs;

/// Everything listens on loopback alone.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Under which the demo's hostnames are. curl and browsers send `*.localhost` to loopback
/// (RFC 6761 section 6.3).
const SYSTEM_DOMAIN: &str = "demo.localhost";

/// One hostname of the demo.
struct Site {
    /// The property, and the name that its origin answers with.
    property: &'static str,
    /// What is created: a hostname or a wildcard.
    pattern: &'static str,
    /// A name to visit that the pattern covers.
    visit: &'static str,
}

/// The first two are the system hostnames that come with the properties.
const SITES: [Site; 3] = [
    Site { property: "shop", pattern: "shop.demo.localhost", visit: "shop.demo.localhost" },
    Site { property: "blog", pattern: "blog.demo.localhost", visit: "blog.demo.localhost" },
    Site { property: "shop", pattern: "*.apps.demo.localhost", visit: "hello.apps.demo.localhost" },
];

/// Runs the demo until Ctrl-C, SIGTERM, or the end of one of its processes.
///
/// # Errors
/// [`DemoError`]; whatever was started is stopped first.
pub(crate) async fn run(args: &DemoArgs) -> Result<(), DemoError> {
    let signals = |source| DemoError::Signals { source };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
    let files = Files::open(&args.dir)?;
    let reserved = Reserved::bind(args)?;
    let ports = reserved.ports();
    say(&format!("Landfall demo, in {}", files.folder().display()));
    let issuer = Issuer::find().await;
    say(&issuer.explanation());
    let enrolment = enrolment::prepare(&files, &ports, &issuer).await?;
    if let Issuer::Pebble(_) = issuer {
        Pebble::prepare(&files, &ports)?;
    }
    let sockets = reserved.into_dns();

    let mut children = Children::default();
    let result = tokio::select! {
        result = session((&files, &ports, &enrolment, &issuer), sockets, &mut children) => result,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    children.stop().await;
    say("demo stopped");
    result
}

/// Never ends well: a caller drops it.
async fn session(
    (files, ports, enrolment, issuer): (&Files, &Ports, &Enrolment, &Issuer),
    sockets: Sockets,
    children: &mut Children,
) -> Result<(), DemoError> {
    if let Issuer::Pebble(pebble) = issuer {
        children.start_command("pebble", pebble.command(files, ports), files)?;
    }
    children.start("control", files)?;
    children.start("edge", files)?;
    let api = Api::new(SocketAddr::new(LOOPBACK, ports.api), enrolment.api_key.as_str())?;
    let mut origins = Origins::default();
    let mut dns = tokio::select! {
        result = set_up(&api, (files, ports, issuer), sockets, &mut origins) => result?,
        ended = children.any_ended() => return Err(ended),
    };
    files.describe(ports, enrolment, issuer)?;
    explain(files, ports);
    tokio::select! {
        ended = children.any_ended() => Err(ended),
        ended = origins.any_ended() => Err(ended),
        ended = dns.ended() => Err(ended),
    }
}

/// Creates properties and hostnames where they are missing, and waits until all are served.
async fn set_up(
    api: &Api,
    (files, ports, issuer): (&Files, &Ports, &Issuer),
    sockets: Sockets,
    origins: &mut Origins,
) -> Result<Dns, DemoError> {
    api.wait_until_live().await?;
    if let Issuer::Pebble(_) = issuer {
        Pebble::keep_root(files, ports).await?;
    }
    files.write_roots()?;
    let mut known = api.properties().await?;
    for site in &SITES {
        let property = ensure_property(api, site, &mut known, origins).await?;
        api.ensure_hostname(&property, site.pattern).await?;
    }
    let property = ensure_property(api, &customer::SITE, &mut known, origins).await?;
    let hostname = api.find_hostname(&property, customer::SITE.pattern).await?;
    let dns = Dns::start(sockets, customer::first_record(hostname.as_ref())).await?;
    for site in &SITES {
        wait_until_served(site, files, ports).await?;
    }
    // Not before an edge serves: hostnames are verified against the PoPs that are healthy.
    customer::move_in(api, &property, hostname, &dns).await?;
    wait_until_served(&customer::SITE, files, ports).await?;
    customer::tell_issuer(api, &property, issuer).await?;
    Ok(dns)
}

/// The site's property, with its origin running.
async fn ensure_property(
    api: &Api,
    site: &Site,
    known: &mut Vec<Property>,
    origins: &mut Origins,
) -> Result<Property, DemoError> {
    let property = match known.iter().find(|property| property.name == site.property) {
        Some(property) => property.clone(),
        None => {
            let address = origins.start(site.property, None).await?;
            let created = api.create_property(site.property, address).await?;
            known.push(created.clone());
            created
        }
    };
    if !origins.is_running(site.property) {
        origins.start(site.property, property.origin()).await?;
    }
    Ok(property)
}

async fn wait_until_served(site: &Site, files: &Files, ports: &Ports) -> Result<(), DemoError> {
    probe::wait_until_served(site, ports.https, &files.roots()).await?;
    say(&format!("  served: https://{}:{}/", site.visit, ports.https));
    Ok(())
}

fn explain(files: &Files, ports: &Ports) {
    let ca = files.roots();
    let (ca, https, api) = (ca.display(), ports.https, ports.api);
    say("\nTry:");
    for site in &SITES {
        say(&format!("  curl --cacert {ca} https://{}:{https}/", site.visit));
    }
    let visit = customer::SITE.visit;
    say(&format!(
        "  curl --cacert {ca} --resolve {visit}:{https}:{LOOPBACK} https://{visit}:{https}/"
    ));
    let description = files.description();
    say(&format!(
        "\nAdd a hostname, and it is served at once:
  curl -H \"X-API-Key: $(jq -r .api_key {})\" --json '{{\"name\":\"new.{SYSTEM_DOMAIN}\"}}' \\
    http://{LOOPBACK}:{api}/api/Property/1/hostname
  curl --cacert {ca} https://new.{SYSTEM_DOMAIN}:{https}/

Health and metrics: http://{LOOPBACK}:{}/readyz and /metrics
DNS, by UDP and TCP: {LOOPBACK}:{}
Logs: {} and {}
Ctrl-C stops the demo.

demo ready",
        description.display(),
        ports.admin,
        ports.dns,
        files.log("control").display(),
        files.log("edge").display(),
    ));
}

/// Writes a line for the person at the terminal.
fn say(text: &str) {
    // Whoever started the demo may have closed the pipe: the demo goes on.
    let _ = writeln!(io::stdout(), "{text}");
}
