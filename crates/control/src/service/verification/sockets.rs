//! How many sockets verifications may have open.

use rustix::process::{Resource, getrlimit};

/// The files that the process may open are for all else too: this part of them, at most.
const SHARE: u64 = 2;

/// As many as are configured, within what the process may open.
pub(super) fn affordable(configured: usize) -> usize {
    let most = within(configured, getrlimit(Resource::Nofile).current);
    if most < configured {
        tracing::warn!(
            configured,
            most,
            "the limit of open files allows fewer sockets for DNS than are configured"
        );
    }
    most
}

/// `None` is no limit.
fn within(configured: usize, limit: Option<u64>) -> usize {
    let share = limit.map_or(u64::MAX, |limit| limit / SHARE).max(1);
    configured.min(usize::try_from(share).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_files_are_kept_for_all_else() {
        let table = [
            (4096, None, 4096),
            (4096, Some(1 << 20), 4096),
            (4096, Some(1024), 512),
            (64, Some(1), 1),
        ];
        for (configured, limit, most) in table {
            assert_eq!(within(configured, limit), most, "of {limit:?}");
        }
    }
}
