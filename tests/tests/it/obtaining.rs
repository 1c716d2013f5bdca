//! Certificates from a CA, while agents die and the CA, the DNS and the nodes fail.

mod faults;
mod kills;
mod secrets;

use landfall_tests::{CUSTOMER_ZONE, Checkpoint, Fleet, FleetBuilder, Origin};
use rusqlite::{Connection, OpenFlags};

/// Where every name of the customers' zone leads, as the hostnames' owners were told.
const HERE: &str = "* CNAME shop.edge.test.\n";

/// A fleet with a checkpoint before its CA and one before its control plane.
struct Scene {
    fleet: Fleet,
    ca: Checkpoint,
    control: Checkpoint,
    property: i64,
    _origin: Origin,
}

impl Scene {
    /// With so many edges, and settings of the control plane.
    async fn start(edges: usize, settings: &[(&str, toml::Value)]) -> Self {
        let mut builder = Fleet::builder(edges);
        for (key, value) in settings {
            builder = builder.control_setting(key, value.clone());
        }
        Self::of(builder).await
    }

    async fn of(builder: FleetBuilder) -> Self {
        Self::prepared(builder, async |_| {}).await
    }

    /// After `prepare` was done, with everything in its place and nothing started.
    async fn prepared(builder: FleetBuilder, prepare: impl AsyncFn(&Fleet)) -> Self {
        let mut prepared = builder.prepare().await;
        let ca = Checkpoint::before_ca(&prepared.pebble).await;
        let control = Checkpoint::before_control().await;
        prepared.dns.set(CUSTOMER_ZONE, HERE).await;
        let directory = format!("{}/dir", ca.url());
        let prepared = prepared.authorities(&[("pebble", &directory, ca.root())]);
        let mut fleet = prepared.behind(&control).await;
        prepare(&fleet).await;
        fleet.lab.start_all().await;
        let origin = Origin::start("shop").await;
        let property = fleet.lab.api().create_property("shop", origin.address()).await;
        Self { fleet, ca, control, property, _origin: origin }
    }

    /// Adds a hostname that leads here, and says its path.
    async fn add(&self, name: &str) -> String {
        let hostname = self.fleet.lab.api().add_hostname(self.property, name).await;
        format!("/api/Property/{}/hostname/{hostname}", self.property)
    }

    /// Adds a hostname and waits until every edge serves it.
    async fn serve(&self, name: &str) -> String {
        let path = self.add(name).await;
        self.fleet.wait_until_served_everywhere(name, "shop").await;
        path
    }

    /// The texts that a query of the control plane's database finds.
    fn query(&self, query: &str) -> Vec<String> {
        let file = self.fleet.lab.folder().join("control/control.db");
        let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut statement = database.prepare(query).unwrap();
        let rows = statement.query_map([], |row| row.get(0));
        rows.unwrap().map(Result::unwrap).collect()
    }
}
