//! The folder of the socket that hand-overs are asked for at: whoever could put another one in its place
//! would be told of them instead.

use std::{
    fs::{self, DirBuilder, Metadata},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::Path,
};

use crate::EdgeError;

/// Who may write beside the owner: group and others.
const OTHERS_MAY_WRITE: u32 = 0o022;

/// Makes it where it is missing, for this process's user alone.
///
/// # Errors
/// [`EdgeError::Directory`] and [`EdgeError::RunDirectory`].
pub(crate) fn make(path: &Path) -> Result<(), EdgeError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| EdgeError::Directory { path: path.to_owned(), source })?;
    let found = fs::metadata(path);
    let found = found.map_err(|source| EdgeError::Directory { path: path.to_owned(), source })?;
    match fault(&found, rustix::process::geteuid().as_raw()) {
        None => Ok(()),
        Some(fault) => Err(EdgeError::RunDirectory { path: path.to_owned(), fault }),
    }
}

/// What is wrong with it. That others may read it is no harm: nothing in it is readable for them.
fn fault(found: &Metadata, user: u32) -> Option<String> {
    let mode = found.mode() & 0o7777;
    if found.uid() != user {
        Some(format!("belongs to user {}, and this process runs as user {user}", found.uid()))
    } else if mode & OTHERS_MAY_WRITE != 0 {
        Some(format!("has mode {mode:04o}: `chmod 0700` it where nothing else uses it"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_that_others_own_or_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (path, user) = (folder.path().join("a/run"), rustix::process::geteuid().as_raw());
        make(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
        let table = [(0o755, None), (0o770, Some("has mode 0770")), (0o1777, Some("mode 1777"))];
        for (mode, expected) in table {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let told = make(&path).err().map(|error| error.to_string());
            match expected {
                None => assert_eq!(told, None, "{mode:o}"),
                Some(part) => {
                    let told = told.unwrap();
                    assert!(
                        told.contains(part) && told.contains("`server.run_directory`"),
                        "{told}"
                    );
                }
            }
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!(fault(&found, user), None);
        assert!(fault(&found, user + 1).unwrap().contains("belongs to user"));
    }
}
