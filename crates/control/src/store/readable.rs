//! Lists of which a row can't be read: that one is left out and named in the log, once, and the others are
//! answered.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use sqlx::{Row as _, sqlite::SqliteRow};

use super::StoreError;

/// The most rows that are told apart.
const TOLD: usize = 1_000;
/// How many times rows are read for one page: a table of which nothing can be read is not read whole.
const ROUNDS: u32 = 100;

/// The rows that could not be read since the process began, each by its table and what it belongs to.
static UNREADABLE: Mutex<BTreeSet<(&str, i64)>> = Mutex::new(BTreeSet::new());

/// How many rows were found that can't be read, as far as they are told apart.
pub(crate) fn count_unreadable() -> usize {
    UNREADABLE.lock().unwrap_or_else(PoisonError::into_inner).len()
}

/// What can be read of `rows` of `table`, whose first column is an id.
pub(super) fn readable<T>(
    table: &'static str,
    rows: &[SqliteRow],
    read: impl Fn(&SqliteRow) -> Result<T, StoreError>,
) -> Vec<T> {
    let read = |row: &SqliteRow| match read(row) {
        Ok(own) => Some(own),
        Err(error) => {
            tell(table, row.try_get(0).unwrap_or(0), &error);
            None
        }
    };
    rows.iter().filter_map(read).collect()
}

fn tell(table: &'static str, id: i64, error: &StoreError) {
    let mut told = UNREADABLE.lock().unwrap_or_else(PoisonError::into_inner);
    if told.len() < TOLD && told.insert((table, id)) {
        tracing::error!(table, id, %error, "a row of the database can't be read and is left out");
    }
}

/// A page of a list that is in the order of ids, the first column. What can't be read takes nobody's place
/// in it: further rows are read.
pub(super) struct Filling<T> {
    position: i64,
    /// How many more rows are wanted; none: there are no more.
    missing: u32,
    /// How many more times rows are read.
    rounds: u32,
    found: Vec<T>,
}

impl<T> Filling<T> {
    /// Begins with the row beyond the id `position`.
    pub(super) fn new(position: i64, limit: u32) -> Self {
        Self { position, missing: limit, rounds: ROUNDS, found: Vec::new() }
    }

    /// Beyond which id, and how many rows are to be read next; none where the page is there.
    pub(super) fn wanted(&self) -> Option<(i64, u32)> {
        (self.missing > 0).then_some((self.position, self.missing))
    }

    /// Takes the rows that were wanted.
    pub(super) fn fill(
        &mut self,
        table: &'static str,
        rows: &[SqliteRow],
        read: impl Fn(&SqliteRow) -> Result<T, StoreError>,
    ) {
        let found = readable(table, rows, read);
        let is_last = rows.len() < self.missing as usize;
        let unreadable = u32::try_from(rows.len() - found.len()).unwrap_or(0);
        self.rounds = self.rounds.saturating_sub(1);
        self.missing = if is_last || self.rounds == 0 { 0 } else { unreadable };
        self.position = rows.last().map_or(self.position, |row| row.get(0));
        self.found.extend(found);
    }

    /// The page.
    pub(super) fn done(self) -> Vec<T> {
        self.found
    }
}
