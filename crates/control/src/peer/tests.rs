use futures_util::FutureExt;

use super::*;

const LIMITS: ConnectionLimits =
    ConnectionLimits { in_all: 12, reserved: 4, unproven: 2, per_client: 4, per_holder: 3 };

fn peers(limits: ConnectionLimits) -> (Arc<Peers>, impl Fn(&str) -> Peer) {
    let peers = Peers::new(limits, IntCounter::new("dropped", "dropped").unwrap());
    let among = Arc::clone(&peers);
    (peers, move |address: &str| among.admit(address.parse().unwrap()))
}

fn is_cut(peer: &Peer) -> bool {
    peer.cut().now_or_never().is_some()
}

fn property(id: i64) -> Holder {
    Holder::Property(PropertyId(id))
}

fn pop(id: i64) -> Holder {
    Holder::Pop(PopId(id))
}

#[test]
fn the_oldest_unproven_connection_of_a_client_makes_way_for_its_newest() {
    let (peers, admit) = peers(LIMITS);
    let other = admit("192.0.2.1");
    let proven = admit("2001:db8::1");
    assert_eq!(proven.belong_to(property(1)), Ok(()));
    let first = admit("2001:db8::2");
    let second = admit("2001:db8::3");
    assert!(!is_cut(&first));
    let third = admit("2001:db8::4");
    assert!(is_cut(&first));
    assert_eq!(peers.dropped.get(), 1);
    for kept in [&other, &proven, &second, &third] {
        assert!(!is_cut(kept));
    }
    drop((first, second));
    let fourth = admit("2001:db8::5");
    assert!(!is_cut(&third) && !is_cut(&fourth));
}

#[test]
fn room_is_made_by_the_client_with_the_most_unproven_connections() {
    let (peers, admit) = peers(LIMITS);
    let alone = admit("192.0.2.1");
    let many = [admit("192.0.2.2"), admit("192.0.2.2")];
    peers.make_room();
    assert!(is_cut(&many[0]) && !is_cut(&many[1]) && !is_cut(&alone));
    peers.make_room();
    assert!(is_cut(&alone) && !is_cut(&many[1]));
    peers.make_room();
    assert!(is_cut(&many[1]));
    peers.make_room();
    assert_eq!(peers.dropped.get(), 3);
}

#[test]
fn keys_have_so_many_connections_of_a_holder_of_a_client_and_in_all() {
    let (peers, admit) = peers(LIMITS);
    let mut open = Vec::new();
    let mut ask = |address: &str, holder| {
        let peer = admit(address);
        let answer = peer.belong_to(holder);
        open.push(peer);
        answer
    };
    for _ in 0..3 {
        assert_eq!(ask("192.0.2.1", property(1)), Ok(()));
    }
    assert_eq!(ask("192.0.2.2", property(1)), Err(TooMany::Holder));
    assert_eq!(ask("192.0.2.1", Holder::Key(ApiKeyId(1))), Ok(()));
    assert_eq!(ask("192.0.2.1", property(2)), Err(TooMany::Client));
    // PoPs come from anywhere.
    assert_eq!(ask("192.0.2.1", pop(1)), Ok(()));
    for address in ["192.0.2.2", "192.0.2.3", "192.0.2.4"] {
        assert_eq!(ask(address, property(2)), Ok(()));
    }
    assert_eq!(ask("192.0.2.5", property(3)), Ok(()));
    assert_eq!(ask("192.0.2.6", property(4)), Err(TooMany::Keys));
    assert_eq!(ask("192.0.2.6", pop(1)), Ok(()));
    assert_eq!(ask("192.0.2.6", pop(1)), Ok(()));
    assert_eq!(ask("192.0.2.6", pop(1)), Err(TooMany::Holder));

    drop(open);
    let table = lock(&peers.table);
    assert!(table.unproven.is_empty() && table.holders.is_empty() && table.clients.is_empty());
    assert_eq!(table.keyed, 0);
}

#[test]
fn a_connection_is_of_whoever_showed_a_key_over_it_last() {
    let (peers, admit) = peers(LIMITS);
    let shared = admit("192.0.2.1");
    assert_eq!(shared.belong_to(property(1)), Ok(()));
    assert_eq!(shared.belong_to(property(1)), Ok(()));
    assert_eq!(lock(&peers.table).holders[&property(1)], 1);
    assert_eq!(shared.belong_to(property(2)), Ok(()));
    assert_eq!(shared.belong_to(pop(1)), Ok(()));
    assert_eq!(lock(&peers.table).keyed, 0);

    let full = [admit("192.0.2.2"), admit("192.0.2.3"), admit("192.0.2.4")];
    for peer in &full {
        assert_eq!(peer.belong_to(property(1)), Ok(()));
    }
    assert_eq!(shared.belong_to(property(1)), Err(TooMany::Holder));
    // It may be cut now.
    peers.make_room();
    assert!(is_cut(&shared));
}
