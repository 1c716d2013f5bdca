//! What a client would rather have: lists with weights (RFC 9110 section 12.4.2).

/// An element of such a list: its name, and its weight in thousandths. 0 where it is not wanted, or
/// the weight is none.
pub(crate) fn weighted(element: &str) -> (&str, u16) {
    let mut parts = element.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    (name, weight.map_or(1000, thousandths))
}

fn thousandths(weight: &str) -> u16 {
    match weight.parse::<f32>() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
        Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1000.0) as u16,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_one_unless_it_is_said() {
        let table = [
            ("gzip", ("gzip", 1000)),
            (" br ; q=0.5", ("br", 500)),
            ("text/html;level=1;Q=0.125", ("text/html", 125)),
            ("a;q=0", ("a", 0)),
            ("a;q=2", ("a", 0)),
            ("a;q=NaN", ("a", 0)),
            ("a;q=", ("a", 0)),
            ("", ("", 1000)),
        ];
        for (element, expected) in table {
            assert_eq!(weighted(element), expected, "{element}");
        }
    }
}
