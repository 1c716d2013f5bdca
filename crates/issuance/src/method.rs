//! By which methods a certificate's names may be proven, and in which order.

use landfall_model::{ChallengeMethod, HostPattern};

/// What is known of a hostname.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The certificate's names.
    pub names: &'a [HostPattern],
    /// Whether port 80 of the hostname leads to a PoP.
    pub port_80: Port80,
    /// Where a TXT record for a challenge can be put.
    pub records: Records,
    /// The methods that CAA records leave (RFC 8657 section 4); none where they say nothing of methods.
    pub caa: Option<&'a [ChallengeMethod]>,
    /// What the hostname's owner wants.
    pub wish: Wish,
    /// The one method that the operator has fixed.
    pub fixed: Option<ChallengeMethod>,
    /// Methods that failed since the last success, the latest last.
    pub failed: &'a [ChallengeMethod],
}

/// Whether port 80 of a hostname leads to a PoP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port80 {
    /// It was seen to, or nobody has looked.
    Open,
    /// Our own fetch got no answer of ours.
    Closed,
}

/// Where a TXT record for a challenge can be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records {
    /// In a zone of ours, which `_acme-challenge` leads to.
    Ours,
    /// In a zone of ours, once `_acme-challenge` leads to it; until then in the owner's zone, by hand.
    Undelegated,
    /// Nowhere but in the owner's zone, by hand.
    Owners,
}

/// What a hostname's owner wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Nothing in particular.
    Any,
    /// A file over HTTP.
    Http,
    /// A TXT record, which they put into their zone themselves if it isn't delegated.
    Txt,
}

/// Why no method is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoMethod {
    /// A wildcard is proven by DNS alone, and no record can be put there.
    #[error(
        "a wildcard is proven by DNS alone: delegate _acme-challenge by a CNAME, or choose the TXT method"
    )]
    WildcardNeedsDns,
    /// The method that was chosen needs a record, and none can be put there.
    #[error("the chosen method needs a TXT record: delegate _acme-challenge by a CNAME")]
    NeedsRecord,
    /// The operator and the owner leave none.
    #[error("the method that the operator fixed, {}, is not the one that was chosen", .0.name())]
    FixedOtherwise(ChallengeMethod),
    /// CAA records leave none.
    #[error("the validationmethods of CAA records forbid every method that could be used")]
    ForbiddenByCaa,
}

/// The methods in the order in which to try them.
///
/// # Errors
/// Where there is none.
pub fn methods(evidence: &Evidence<'_>) -> Result<Vec<ChallengeMethod>, NoMethod> {
    use ChallengeMethod::{Dns01, Http01, TlsAlpn01};
    let has_wildcard = evidence.names.iter().any(|name| matches!(name, HostPattern::Wildcard(_)));
    let has_records = match evidence.records {
        Records::Ours => true,
        Records::Undelegated => evidence.wish == Wish::Txt,
        // By hand for every renewal: only where nothing else will do.
        Records::Owners => {
            evidence.wish == Wish::Txt || has_wildcard || evidence.fixed == Some(Dns01)
        }
    };
    let mut methods = match evidence.wish {
        _ if has_wildcard => vec![Dns01],
        Wish::Any => vec![Http01, TlsAlpn01, Dns01],
        Wish::Http => vec![Http01],
        Wish::Txt => vec![Dns01],
    };
    if let Some(fixed) = evidence.fixed {
        methods.retain(|method| *method == fixed);
        if methods.is_empty() {
            return Err(if has_wildcard && fixed != Dns01 {
                NoMethod::WildcardNeedsDns
            } else {
                NoMethod::FixedOtherwise(fixed)
            });
        }
    }
    methods.retain(|method| *method != Dns01 || has_records);
    if methods.is_empty() {
        return Err(if has_wildcard { NoMethod::WildcardNeedsDns } else { NoMethod::NeedsRecord });
    }
    methods.retain(|method| evidence.caa.is_none_or(|permitted| permitted.contains(method)));
    if methods.is_empty() {
        return Err(NoMethod::ForbiddenByCaa);
    }
    // What failed last comes last, and what is seen not to work comes after what may.
    methods.sort_by_key(|method| {
        let failed = evidence.failed.iter().rposition(|failed| failed == method);
        (failed, *method == Http01 && evidence.port_80 == Port80::Closed)
    });
    Ok(methods)
}

#[cfg(test)]
mod tests {
    use super::{
        Port80::{Closed, Open},
        *,
    };
    use ChallengeMethod::{Dns01, Http01, TlsAlpn01};

    const NOTHING: Evidence<'static> = Evidence {
        names: &[],
        port_80: Open,
        records: Records::Owners,
        caa: None,
        wish: Wish::Any,
        fixed: None,
        failed: &[],
    };

    #[test]
    fn chooses_by_evidence() {
        let names: Vec<HostPattern> =
            vec!["shop.test".parse().unwrap(), "*.shop.test".parse().unwrap()];
        let wildcard = Evidence { names: &names, ..NOTHING };
        let plain = Evidence { names: &names[..1], ..NOTHING };
        let delegated = Evidence { records: Records::Ours, ..plain };
        let undelegated = Evidence { records: Records::Undelegated, ..plain };
        let cases: Vec<(Evidence<'_>, Result<&[ChallengeMethod], NoMethod>)> = vec![
            (plain, Ok(&[Http01, TlsAlpn01])),
            (delegated, Ok(&[Http01, TlsAlpn01, Dns01])),
            (Evidence { port_80: Closed, ..delegated }, Ok(&[TlsAlpn01, Dns01, Http01])),
            (Evidence { failed: &[Http01], ..plain }, Ok(&[TlsAlpn01, Http01])),
            (Evidence { failed: &[TlsAlpn01, Http01], ..plain }, Ok(&[TlsAlpn01, Http01])),
            (Evidence { failed: &[Http01, TlsAlpn01, Http01], ..plain }, Ok(&[TlsAlpn01, Http01])),
            (Evidence { wish: Wish::Http, ..delegated }, Ok(&[Http01])),
            (Evidence { wish: Wish::Txt, ..plain }, Ok(&[Dns01])),
            (Evidence { fixed: Some(TlsAlpn01), ..delegated }, Ok(&[TlsAlpn01])),
            (Evidence { fixed: Some(Dns01), ..undelegated }, Err(NoMethod::NeedsRecord)),
            (Evidence { fixed: Some(Dns01), ..plain }, Ok(&[Dns01])),
            (undelegated, Ok(&[Http01, TlsAlpn01])),
            (Evidence { wish: Wish::Txt, ..undelegated }, Ok(&[Dns01])),
            (
                Evidence { fixed: Some(Dns01), wish: Wish::Http, ..delegated },
                Err(NoMethod::FixedOtherwise(Dns01)),
            ),
            (Evidence { caa: Some(&[Dns01]), ..delegated }, Ok(&[Dns01])),
            (Evidence { caa: Some(&[Dns01]), ..plain }, Err(NoMethod::ForbiddenByCaa)),
            (Evidence { caa: Some(&[]), ..plain }, Err(NoMethod::ForbiddenByCaa)),
            (wildcard, Ok(&[Dns01])),
            (
                Evidence { records: Records::Undelegated, ..wildcard },
                Err(NoMethod::WildcardNeedsDns),
            ),
            (Evidence { records: Records::Ours, ..wildcard }, Ok(&[Dns01])),
            (Evidence { wish: Wish::Txt, ..wildcard }, Ok(&[Dns01])),
            (
                Evidence { records: Records::Ours, fixed: Some(Http01), ..wildcard },
                Err(NoMethod::WildcardNeedsDns),
            ),
        ];
        for (evidence, expected) in cases {
            let chosen = methods(&evidence);
            assert_eq!(chosen, expected.map(<[_]>::to_vec), "{evidence:?}");
        }
    }
}
