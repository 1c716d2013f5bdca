//! The database: SQLite, one writer at a time, and the only place with SQL.
//!
//! A change and its feed record are one transaction ([`Change`]), so a reader of the feed can
//! never see one without the other. Reads go through a pool of their own and never wait for the
//! writer (WAL). Another process, the CLI, may change the database at any time.

pub(crate) mod account;
pub(crate) mod api_key;
pub(crate) mod attempt;
pub(crate) mod audit;
pub(crate) mod budget;
pub(crate) mod certificate;
pub(crate) mod change;
pub(crate) mod choice;
pub(crate) mod counts;
pub(crate) mod custom_hostname;
pub(crate) mod dns_challenge;
pub(crate) mod errand;
pub(crate) mod event;
pub(crate) mod feed;
pub(crate) mod held_name;
pub(crate) mod hostname;
pub(crate) mod idempotency;
pub(crate) mod job;
pub(crate) mod lease;
pub(crate) mod line;
pub(crate) mod ownership;
#[cfg(test)]
mod plans;
pub(crate) mod pop;
pub(crate) mod predecessor;
pub(crate) mod property;
pub(crate) mod readable;
pub(crate) mod renewal;
pub(crate) mod sealed;
pub(crate) mod sighting;
pub(crate) mod site;
pub(crate) mod traffic;
pub(crate) mod turn;
pub(crate) mod validation;
pub(crate) mod verification;
pub(crate) mod waiting;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use landfall_model::{Epoch, Revision};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::SqlSafeStr;
use sqlx::{
    Connection as _, Sqlite, SqliteConnection, SqlitePool,
    migrate::{Migration, MigrationType, Migrator},
    pool::PoolConnection,
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
    },
};
use time::OffsetDateTime;
use tokio::sync::{Notify, SemaphorePermit, watch};

pub(crate) use change::Change;
use line::{Line, Lines};

use crate::call::Call;

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;

/// Why the database did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file can't be opened as our database.
    #[error("cannot open the database")]
    Open(#[source] sqlx::Error),
    /// Its tables can't be brought to this version's form.
    #[error("cannot bring the database to the form of this version")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A statement failed.
    #[error("the database refused to {operation}")]
    Statement {
        /// What was wanted.
        operation: &'static str,
        /// Why not.
        #[source]
        source: sqlx::Error,
    },
    /// A row holds what no version of this program writes.
    #[error("the database holds an unreadable {0}")]
    Corrupt(&'static str),
}

impl StoreError {
    /// For `map_err`.
    pub(crate) fn on(operation: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Statement { operation, source }
    }

    /// Whether others held the database for too long. Nothing was changed, and a later try may do.
    pub(crate) fn is_busy(&self) -> bool {
        /// The lower byte of SQLite's result codes SQLITE_BUSY and SQLITE_LOCKED.
        const BUSY: [u32; 2] = [5, 6];
        let Self::Statement { source, .. } = self else {
            return false;
        };
        let code = source.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
        matches!(source, sqlx::Error::PoolTimedOut)
            || code.is_some_and(|code| BUSY.contains(&(code & 0xff)))
    }

    /// Whether a unique column already had the value.
    pub(crate) fn is_unique_violation(&self) -> bool {
        match self {
            Self::Statement { source, .. } => {
                source.as_database_error().is_some_and(|error| error.is_unique_violation())
            }
            Self::Open(_) | Self::Migrate(_) | Self::Corrupt(_) => false,
        }
    }
}

/// Where the feed is: what long polls wait to move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Head {
    pub(crate) epoch: Epoch,
    pub(crate) revision: Revision,
}

/// How often at most it is told that rows mean nothing, in seconds.
const TELL_EVERY: u64 = 60;

/// The database.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
    head: watch::Sender<Head>,
    jobs: Arc<Notify>,
    /// Counts changes that made jobs: what agents that want one wait for.
    made: watch::Sender<u64>,
    lines: Arc<Lines>,
}

impl Store {
    /// Opens the file, which must exist, and brings its tables to this version's form.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        // A revision that was published must survive a power loss: edges would be ahead of us.
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // What is erased leaves the pages that are written anyway: sealed keys among it.
            .pragma("secure_delete", "fast")
            .busy_timeout(BUSY_TIMEOUT);
        let pool = |size| {
            SqlitePoolOptions::new()
                .max_connections(size)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .before_acquire(|connection, _| Box::pin(async { Ok(is_fit(connection)) }))
        };
        let writer = pool(1).connect_with(options.clone()).await.map_err(StoreError::Open)?;
        migrator().run(&writer).await.map_err(StoreError::Migrate)?;
        let readers = pool(READERS).connect_with(options).await.map_err(StoreError::Open)?;
        let head = watch::Sender::new(Head::default());
        let store = Self {
            writer,
            readers,
            head,
            jobs: Arc::default(),
            made: watch::Sender::new(0),
            lines: Arc::default(),
        };
        store.refresh_head().await?;
        Ok(store)
    }

    /// A connection for reading. Statements on it see each the latest state.
    pub(crate) async fn read(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        let acquired = self.lines.readers.count(self.readers.acquire()).await;
        acquired.map_err(StoreError::on("open a connection"))
    }

    /// A transaction for reading: its statements see one state.
    pub(crate) async fn read_at_once(
        &self,
    ) -> Result<sqlx::Transaction<'static, Sqlite>, StoreError> {
        let begun = self.lines.readers.count(self.readers.begin()).await;
        begun.map_err(StoreError::on("begin a read"))
    }

    /// The one change that is in progress. Dropped without a commit, it never was.
    pub(crate) async fn change(&self, call: Call) -> Result<Change, StoreError> {
        // Deferred transactions that turn into writers fail at once instead of waiting.
        let begun = self.lines.writer.count(self.writer.begin_with("BEGIN IMMEDIATE")).await;
        let transaction = begun.map_err(StoreError::on("begin a change"))?;
        let jobs = (Arc::clone(&self.jobs), self.made.clone());
        Ok(Change::new(transaction, self.head.clone(), jobs, call))
    }

    /// Waits for a turn in a line, which is to be had before [`Self::change`] or [`Self::read`] where there may
    /// be many of a kind at once.
    pub(crate) async fn turn(&self, line: Line) -> Option<SemaphorePermit<'_>> {
        self.lines.turn(line).await
    }

    /// Writes the database as it is now to `file`, which must be empty, without what was deleted from it.
    /// Changes go on meanwhile.
    pub(crate) async fn copy_to(&self, file: &str) -> Result<(), StoreError> {
        let mut connection = self.read().await?;
        let copied = sqlx::query("VACUUM INTO ?").bind(file).execute(&mut *connection).await;
        copied.map(drop).map_err(StoreError::on("copy the database"))
    }

    /// How many wait for the writer, and how many for a reader.
    pub(crate) fn waiting(&self) -> (i64, i64) {
        (self.lines.writer.number(), self.lines.readers.number())
    }

    /// Reads where the feed is, and tells those who wait.
    pub(crate) async fn refresh_head(&self) -> Result<Head, StoreError> {
        let state = feed::state(&mut *self.read().await?).await?;
        let head = state.head();
        advance(&self.head, head);
        Ok(head)
    }

    /// Follows where the feed is.
    pub(crate) fn follow(&self) -> watch::Receiver<Head> {
        self.head.subscribe()
    }

    /// Follows how often this process made jobs.
    pub(crate) fn follow_jobs(&self) -> watch::Receiver<u64> {
        self.made.subscribe()
    }

    /// Completes once a change of this process made a job since the last time.
    pub(crate) async fn jobs_made(&self) {
        self.jobs.notified().await;
    }

    /// Ends the pools; SQLite then folds the write-ahead log into the file.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Moves the watch forward and never back, whoever of several tasks comes last.
/// What can be read of rows: one that means nothing keeps no other from being used.
fn readable<T>(rows: &[SqliteRow], read: impl Fn(&SqliteRow) -> Result<T, StoreError>) -> Vec<T> {
    /// When it was last told, in Unix seconds: such rows are read again and again.
    static TOLD_AT: AtomicI64 = AtomicI64::new(0);
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        match read(row) {
            Ok(one) => found.push(one),
            Err(error) => {
                let now = OffsetDateTime::now_utc().unix_timestamp();
                if now.abs_diff(TOLD_AT.swap(now, Ordering::Relaxed)) >= TELL_EVERY {
                    tracing::error!(%error, "a row of the database is left out");
                }
            }
        }
    }
    found
}

/// Whether a connection may be used again. Where SQLite itself ended a transaction, as it does when the disk
/// is full, sqlx goes on believing in it and nothing can be begun any more.
fn is_fit(connection: &SqliteConnection) -> bool {
    let is_fit = !connection.is_in_transaction();
    if !is_fit {
        tracing::warn!("a connection to the database was left in a transaction; opening another");
    }
    is_fit
}

fn advance(sender: &watch::Sender<Head>, head: Head) {
    sender.send_if_modified(|current| {
        let newer = head > *current;
        if newer {
            *current = head;
        }
        newer
    });
}

fn migrator() -> Migrator {
    let initial = include_str!("store/migrations/0001_initial.sql");
    Migrator::with_migrations(vec![Migration::new(
        1,
        "initial".into(),
        MigrationType::Simple,
        initial.into_sql_str(),
        false,
    )])
}

/// A count or counter as SQLite holds it. Ours stay far below 2^63.
fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn from_sql(number: i64, what: &'static str) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Corrupt(what))
}

fn time_from_sql(seconds: i64) -> Result<OffsetDateTime, StoreError> {
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| StoreError::Corrupt("time"))
}

/// Settings as they are kept.
fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::Corrupt("setting"))
}

fn from_json<T: DeserializeOwned>(text: &str, what: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt(what))
}

/// What a statement runs on.
pub(crate) type Connection = SqliteConnection;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_database_that_others_hold_is_busy_and_a_wrong_statement_is_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let options =
            SqliteConnectOptions::new().filename(file.path()).busy_timeout(Duration::ZERO);
        let pool = SqlitePool::connect_with(options).await.unwrap();
        let held = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let second = pool.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::on("begin"));
        assert!(second.unwrap_err().is_busy());
        drop(held);
        let wrong = sqlx::query("SELECT 1 FROM nothing").execute(&pool).await;
        assert!(!wrong.map_err(StoreError::on("read")).unwrap_err().is_busy());
        assert!(StoreError::on("acquire")(sqlx::Error::PoolTimedOut).is_busy());
    }

    #[tokio::test]
    async fn a_change_wakes_who_follows_without_another_look() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let store = Store::open(file.path()).await.unwrap();
        let mut head = store.follow();
        let before = *head.borrow_and_update();
        let mut change = store.change(Call::system(OffsetDateTime::now_utc())).await.unwrap();
        change.start_epoch().await.unwrap();
        assert!(!head.has_changed().unwrap());
        change.commit().await.unwrap();
        assert!(head.has_changed().unwrap() && *head.borrow() > before);
    }

    #[tokio::test]
    async fn a_disk_that_was_full_keeps_nobody_from_writing_once_there_is_room() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let store = Store::open(file.path()).await.unwrap();
        let begin = async || store.change(Call::system(OffsetDateTime::UNIX_EPOCH)).await;
        let mut change = begin().await.unwrap();
        // As many pages as there are: the file can't grow on this connection.
        sqlx::query("PRAGMA max_page_count = 1").execute(change.on()).await.unwrap();
        let filler = "CREATE TABLE filler AS SELECT zeroblob(10000000)";
        let full = sqlx::query(filler).execute(change.on()).await.unwrap_err();
        let code = full.as_database_error().and_then(|error| error.code()).unwrap();
        assert_eq!(code, "13", "{full}");
        drop(change);
        let mut change = begin().await.unwrap();
        change.start_epoch().await.unwrap();
        change.commit().await.unwrap();
    }
}
