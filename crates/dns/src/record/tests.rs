use super::*;

fn json(name: &str) -> serde_json::Value {
    let addresses = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    let target = "my-site.edge.example.net".parse().unwrap();
    serde_json::to_value(required_record(&name.parse().unwrap(), &target, addresses)).unwrap()
}

#[test]
fn a_name_below_an_apex_needs_a_cname() {
    for name in ["www.shop.example", "*.shop.example", "*.www.shop.example"] {
        let expected = serde_json::json!({
            "type": "CNAME", "name": name, "target": "my-site.edge.example.net"
        });
        assert_eq!(json(name), expected);
    }
}

#[test]
fn an_apex_needs_an_alias_or_addresses() {
    let expected = serde_json::json!({
        "type": "ALIAS", "name": "shop.example", "target": "my-site.edge.example.net",
        "alternatives": [
            {"type": "A", "name": "shop.example", "address": "192.0.2.1"},
            {"type": "AAAA", "name": "shop.example", "address": "2001:db8::1"}
        ]
    });
    assert_eq!(json("shop.example"), expected);
}
