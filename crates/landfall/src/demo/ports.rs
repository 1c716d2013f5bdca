//! The demo's ports: chosen, and known to be free, before anything is started.

use std::net::{SocketAddr, TcpListener};

use super::{DemoError, LOOPBACK, dns::Sockets};
use crate::cli::DemoArgs;

/// The ports on loopback.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) https: u16,
    pub(super) http: u16,
    pub(super) api: u16,
    pub(super) admin: u16,
    pub(super) dns: u16,
    /// Of the CA, where there is one.
    pub(super) ca: u16,
    pub(super) ca_management: u16,
}

/// Ports that are held until this is dropped, so that no two are the same.
pub(crate) struct Reserved {
    ports: Ports,
    dns: Sockets,
    _listeners: [TcpListener; 6],
}

impl Reserved {
    /// Binds every port; 0 takes a free one.
    ///
    /// # Errors
    /// [`DemoError::Port`] for the first that can't be bound.
    pub(crate) fn bind(args: &DemoArgs) -> Result<Self, DemoError> {
        let (https, https_listener) = bind("--https-port", args.https_port)?;
        let (http, http_listener) = bind("--http-port", args.http_port)?;
        let (api, api_listener) = bind("--api-port", args.api_port)?;
        let (admin, admin_listener) = bind("--admin-port", args.admin_port)?;
        // Nobody has to know them.
        let (ca, ca_listener) = bind_any()?;
        let (ca_management, management_listener) = bind_any()?;
        let (flag, port) = ("--dns-port", args.dns_port);
        let bound = Sockets::bind(port);
        let (dns, sockets) = bound.map_err(|source| DemoError::Port { flag, port, source })?;
        Ok(Self {
            ports: Ports { https, http, api, admin, dns, ca, ca_management },
            dns: sockets,
            _listeners: [
                https_listener,
                http_listener,
                api_listener,
                admin_listener,
                ca_listener,
                management_listener,
            ],
        })
    }

    /// The numbers.
    pub(super) fn ports(&self) -> Ports {
        self.ports
    }

    /// Frees every port but that of the demo's own DNS server.
    pub(super) fn into_dns(self) -> Sockets {
        self.dns
    }
}

fn bind(flag: &'static str, port: u16) -> Result<(u16, TcpListener), DemoError> {
    let failed = |source| DemoError::Port { flag, port, source };
    let listener = TcpListener::bind(SocketAddr::new(LOOPBACK, port)).map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    Ok((port, listener))
}

fn bind_any() -> Result<(u16, TcpListener), DemoError> {
    let failed = |source| DemoError::NoFreePort { source };
    let listener = TcpListener::bind(SocketAddr::new(LOOPBACK, 0)).map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    Ok((port, listener))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_option_of_a_port_in_use() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let args = DemoArgs {
            dir: "demo".into(),
            https_port: 0,
            http_port: 0,
            api_port: port,
            admin_port: 0,
            dns_port: 0,
        };
        let error = Reserved::bind(&args).err().unwrap().to_string();
        assert!(error.contains("--api-port") && error.contains(&port.to_string()), "{error}");
    }
}
