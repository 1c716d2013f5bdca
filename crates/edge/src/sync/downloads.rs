//! A snapshot's segments on disk, so that a download that broke goes on where it was.

use std::{
    collections::HashSet,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use landfall_feed::{
    page::{Manifest, SegmentRef},
    seal::sha256,
};

use super::apply::ApplyError;

/// The folder of downloaded segments, each under its hash. Every call blocks.
#[derive(Clone, Debug)]
pub(super) struct Downloads {
    folder: PathBuf,
}

impl Downloads {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Makes the folder, and removes what an older snapshot left in it.
    pub(super) fn prepare(&self, manifest: &Manifest) -> Result<(), ApplyError> {
        let folder = &self.folder;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(failed("create", folder))?;
        let wanted: HashSet<_> = manifest.segments.iter().map(name).collect();
        for entry in fs::read_dir(folder).map_err(failed("list", folder))?.flatten() {
            if !entry.file_name().to_str().is_some_and(|name| wanted.contains(name)) {
                fs::remove_file(entry.path()).map_err(failed("remove", &entry.path()))?;
            }
        }
        Ok(())
    }

    /// Whether the segment is there, whole.
    pub(super) fn has(&self, segment: &SegmentRef) -> bool {
        fs::read(self.path(segment)).is_ok_and(|bytes| sha256(&bytes) == *segment.sha256)
    }

    pub(super) fn put(&self, segment: &SegmentRef, bytes: &[u8]) -> Result<(), ApplyError> {
        let path = self.path(segment);
        fs::write(&path, bytes).map_err(failed("write", &path))
    }

    pub(super) fn read(&self, segment: &SegmentRef) -> Result<Vec<u8>, ApplyError> {
        let path = self.path(segment);
        fs::read(&path).map_err(failed("read", &path))
    }

    /// Removes everything once it has been applied. What stays goes with the next snapshot.
    pub(super) fn clear(&self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(%error, path = %self.folder.display(), "cannot remove a snapshot");
        }
    }

    fn path(&self, segment: &SegmentRef) -> PathBuf {
        self.folder.join(name(segment))
    }
}

fn name(segment: &SegmentRef) -> String {
    HEXLOWER.encode(&segment.sha256)
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ApplyError {
    move |source| ApplyError::File { operation, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(bytes: &[u8]) -> SegmentRef {
        let (len, sha256) = (bytes.len() as u64, sha256(bytes).to_vec());
        SegmentRef { name: "any".into(), len, sha256 }
    }

    #[test]
    fn keeps_whole_segments_of_the_wanted_snapshot_alone() {
        let folder = tempfile::tempdir().unwrap();
        let downloads = Downloads::new(folder.path().join("snapshot"));
        let [kept, cut, old] = [b"kept", b"cut.", b"old."].map(|bytes| segment(bytes));
        let hostnames = 0;
        let first = Manifest { segments: vec![kept.clone(), cut.clone(), old.clone()], hostnames };
        downloads.prepare(&first).unwrap();
        downloads.put(&kept, b"kept").unwrap();
        downloads.put(&cut, b"cu").unwrap();
        downloads.put(&old, b"old.").unwrap();
        let next = Manifest { segments: vec![kept.clone(), cut.clone()], hostnames };
        downloads.prepare(&next).unwrap();
        assert_eq!([&kept, &cut, &old].map(|own| downloads.has(own)), [true, false, false]);
        assert_eq!(downloads.read(&kept).unwrap(), b"kept");
        assert!(downloads.read(&old).is_err());
        downloads.clear();
        assert!(!downloads.has(&kept));
    }
}
