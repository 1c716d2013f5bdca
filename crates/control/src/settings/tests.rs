use serde_json::json;

use super::*;

fn fields(value: Value) -> Fields {
    let Value::Object(fields) = value else { panic!("{value}") };
    fields
}

#[test]
fn a_patch_changes_what_it_names_and_keeps_nulls() {
    let mut target = fields(json!({"a": 1, "b": {"c": 2, "d": 3}, "e": [1, 2]}));
    merge(&mut target, fields(json!({"b": {"c": null, "x": 4}, "e": [3], "f": {"g": 5}})));
    let expected = json!({"a": 1, "b": {"c": null, "d": 3, "x": 4}, "e": [3], "f": {"g": 5}});
    assert_eq!(Value::Object(target), expected);
}
