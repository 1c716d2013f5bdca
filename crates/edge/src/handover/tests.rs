use std::net::TcpListener;

use super::{Handed, Kind, claim};

fn handed(kind: Kind, configured: &str) -> Handed {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    Handed { kind, configured: configured.parse().unwrap(), socket }
}

#[test]
fn a_socket_is_claimed_by_its_address_and_by_what_it_is_for_where_the_system_chose_the_port() {
    let mut all = vec![
        handed(Kind::Http, "127.0.0.1:0"),
        handed(Kind::Https, "127.0.0.1:0"),
        handed(Kind::Http, "192.0.2.1:80"),
    ];
    let table = [
        (Kind::Https, "127.0.0.1:0", true),
        (Kind::Https, "127.0.0.1:0", false),
        (Kind::Https, "192.0.2.1:80", true),
        (Kind::Http, "192.0.2.1:80", false),
        (Kind::Admin, "127.0.0.1:0", false),
        (Kind::Http, "127.0.0.1:0", true),
    ];
    for (kind, address, is_there) in table {
        let found = claim(&mut all, kind, address.parse().unwrap());
        assert_eq!(found.is_some(), is_there, "{kind:?} {address}");
    }
    assert!(all.is_empty());
}
