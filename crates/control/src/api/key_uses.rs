//! When keys were last used: noted in memory, and written down now and then by a task.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use time::OffsetDateTime;

use crate::token::ApiKeyId;

/// Uses that are not written down yet. Proven keys alone get here, so there are at most as many
/// as there are keys.
#[derive(Debug, Default)]
pub(crate) struct KeyUses {
    unwritten: Mutex<HashMap<ApiKeyId, OffsetDateTime>>,
}

impl KeyUses {
    /// Notes a use.
    pub(crate) fn note(&self, key: ApiKeyId, now: OffsetDateTime) {
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        let last = unwritten.entry(key).or_insert(now);
        *last = now.max(*last);
    }

    /// Takes what is to be written down.
    pub(crate) fn take(&self) -> Vec<(ApiKeyId, OffsetDateTime)> {
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        unwritten.drain().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_use_is_what_counts() {
        let uses = KeyUses::default();
        let at = |seconds| OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds);
        uses.note(ApiKeyId(1), at(5));
        uses.note(ApiKeyId(1), at(9));
        uses.note(ApiKeyId(1), at(7));
        assert_eq!(uses.take(), [(ApiKeyId(1), at(9))]);
        assert!(uses.take().is_empty());
    }
}
