//! Backups of the state, and their way back.

use std::{fs, path::Path};

use landfall_model::Epoch;

use serde_json::json;

use super::{audit_feed, begin, finish};
use crate::{config::ControlConfig, error::ControlError, state};

/// Writes all that can't be made again to the new folder `to` (0700): the database as it is at one moment,
/// and the keys. A server may run meanwhile, and is not held up.
///
/// # Errors
/// Where `to` exists or can't be written, and the state's own errors. What was written until then is
/// removed.
pub async fn back_up(config: &ControlConfig, to: &Path) -> Result<(), ControlError> {
    let store = state::open_store(config).await?;
    let written = match state::make_new_folder(to) {
        Ok(()) => state::copy_state(&store, &config.state_directory, to).await.inspect_err(|_| {
            // Half a backup is worse than none; where even this fails, the error is told all the same.
            let _ = fs::remove_dir_all(to);
        }),
        Err(error) => Err(error),
    };
    store.close().await;
    written
}

/// Makes the state directory from a backup, and starts a new epoch of the feed: edges may have seen
/// revisions that the backup doesn't know.
///
/// # Errors
/// Where the state directory has a database already, or the backup can't be read, and the state's own
/// errors.
pub async fn restore(config: &ControlConfig, from: &Path) -> Result<Epoch, ControlError> {
    state::restore_files(from, &config.state_directory)?;
    let store = state::open_store(config).await?;
    let mut change = begin(&store).await?;
    let epoch = change.start_epoch().await.map_err(ControlError::Store)?;
    // What was allowed when the backup was made is not meant for what is lost by it.
    let now = change.now();
    change.allow_shrink(now).await.map_err(ControlError::Store)?;
    audit_feed(&mut change, "feed.restore", json!({"epoch": epoch})).await?;
    finish(change, &store).await?;
    Ok(epoch)
}
