//! A snapshot's segments as files: their names, their removal, and how they are served.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use axum::{
    body::Body,
    extract::{Path as PathParameter, Request, State},
    response::{IntoResponse, Response},
};
use data_encoding::HEXLOWER;
use http::{HeaderValue, StatusCode, header};
use landfall_feed::protocol::PAGE_MEDIA_TYPE;
use landfall_model::{Epoch, Revision};
use tower_http::services::ServeFile;

use super::snapshot::SnapshotError;
use crate::api::{SharedApp, problem::Problem};

const SUFFIX: &str = ".seg";
/// The newest and the one before, which a PoP may be half through.
const KEPT: usize = 2;

/// `<epoch>-<revision>-<index>-<hash>.seg`
pub(super) fn name(epoch: Epoch, revision: Revision, index: usize, hash: &[u8; 32]) -> String {
    let hash = HEXLOWER.encode(hash.get(..8).unwrap_or_default());
    format!("{epoch}-{revision}-{index:06}-{hash}{SUFFIX}")
}

/// The snapshot that a file belongs to.
fn snapshot_of(name: &str) -> Option<(u64, u64)> {
    let mut parts = name.strip_suffix(SUFFIX)?.split('-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Whether a name from outside can only be that of a file of ours.
fn is_segment_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_digit() || b.is_ascii_lowercase() || matches!(b, b'-' | b'.');
    name.bytes().all(allowed) && snapshot_of(name).is_some()
}

/// Makes the folder where somebody removed it.
pub(super) async fn make_folder(directory: PathBuf) -> Result<(), SnapshotError> {
    let work = move || DirBuilder::new().recursive(true).mode(0o700).create(directory);
    let made = tokio::task::spawn_blocking(work).await.map_err(SnapshotError::Interrupted)?;
    made.map_err(SnapshotError::Write)
}

/// Whether all of these files are there.
pub(super) async fn are_there(
    directory: PathBuf,
    names: Vec<String>,
) -> Result<bool, SnapshotError> {
    let work = move || names.iter().all(|name| directory.join(name).is_file());
    tokio::task::spawn_blocking(work).await.map_err(SnapshotError::Interrupted)
}

/// Removes all files but those of the two newest snapshots.
pub(super) async fn remove_old(directory: PathBuf) -> Result<(), SnapshotError> {
    let work = move || remove_old_now(&directory).map_err(SnapshotError::Write);
    tokio::task::spawn_blocking(work).await.map_err(SnapshotError::Interrupted)?
}

fn remove_old_now(directory: &Path) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.extend(entry?.file_name().into_string());
    }
    let all: BTreeSet<_> = names.iter().filter_map(|name| snapshot_of(name)).collect();
    let kept: BTreeSet<_> = all.into_iter().rev().take(KEPT).collect();
    for name in names {
        // What has no number is what a crash left half written.
        if !snapshot_of(&name).is_some_and(|snapshot| kept.contains(&snapshot)) {
            fs::remove_file(directory.join(name))?;
        }
    }
    Ok(())
}

pub(super) async fn handle(
    State(app): State<SharedApp>,
    PathParameter(name): PathParameter<String>,
    request: Request,
) -> Result<Response, Problem> {
    if !is_segment_name(&name) {
        return Err(Problem::not_found("segment"));
    }
    let mut file = ServeFile::new(app.snapshot_directory.join(&name));
    let served = file.try_call(request).await.map_err(|error| Problem::internal(&error))?;
    if served.status() == StatusCode::NOT_FOUND {
        return Err(Problem::not_found("segment"));
    }
    let mut response = served.map(Body::new).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PAGE_MEDIA_TYPE));
    let immutable = HeaderValue::from_static("private, max-age=604800, immutable");
    headers.insert(header::CACHE_CONTROL, immutable);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_no_other_file() {
        let good = name(Epoch(1_800_000_000), Revision(7), 0, &[0xab; 32]);
        assert!(is_segment_name(&good), "{good}");
        assert_eq!(snapshot_of(&good), Some((1_800_000_000, 7)));
        for bad in ["", "..", "../control.db", "1-2/../x.seg", "1-2-3.new", "A-2-3.seg", ".seg"] {
            assert!(!is_segment_name(bad), "{bad}");
        }
    }

    #[test]
    fn the_two_newest_snapshots_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        for (epoch, revision) in [(1, 900), (2, 9), (2, 10), (2, 10)] {
            for index in 0..2 {
                let name = name(Epoch(epoch), Revision(revision), index, &[1; 32]);
                fs::write(directory.path().join(name), "").unwrap();
            }
        }
        fs::write(directory.path().join("2-11-000000-01.new"), "").unwrap();
        remove_old_now(directory.path()).unwrap();
        let names = fs::read_dir(directory.path()).unwrap();
        let left: BTreeSet<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(left.len(), 4);
        assert!(left.iter().all(|name| name.starts_with("2-")));
    }
}
