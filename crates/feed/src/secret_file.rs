//! Files that hold secrets: readable by their owner alone, or refused.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::bounded_file;

/// The largest secret file, in bytes.
const MAX_LEN: u64 = 64 * 1024;

/// Why a secret file was not read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretFileError {
    /// Group or others have a permission on it.
    #[error(
        "{} is open to others (mode {mode:04o}): it holds a secret; run `chmod 600` on it", path.display()
    )]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not text, or too long.
    #[error("{} is not a text of at most {MAX_LEN} bytes", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// `read` or `write`.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// Whether nobody but its owner reaches a file of this mode. In systemd's folder of `credentials` the mode's
/// permission of the group to read is the mask of an access list, by which the service's user alone reads the file.
fn is_private(mode: u32, path: &Path, credentials: Option<&Path>) -> bool {
    let is_credential = credentials.is_some() && path.parent() == credentials;
    let allowed = if is_credential { 0o740 } else { 0o700 };
    mode & 0o777 & !allowed == 0
}

/// Reads a secret as text.
///
/// # Errors
/// [`SecretFileError`]; a file that group or others can reach in any way is refused, but for systemd's credentials.
pub fn read(path: &Path) -> Result<Zeroizing<String>, SecretFileError> {
    let failed = |source| SecretFileError::Io { operation: "read", path: path.to_owned(), source };
    let file = bounded_file::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    let credentials = env::var_os("CREDENTIALS_DIRECTORY");
    if !is_private(mode, path, credentials.as_deref().map(Path::new)) {
        return Err(SecretFileError::Permissions { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    let read = file.take(MAX_LEN + 1).read_to_string(&mut text);
    match read {
        Ok(len) if len as u64 <= MAX_LEN => Ok(text),
        Ok(_) => Err(SecretFileError::NotText { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(SecretFileError::NotText { path: path.to_owned() })
        }
        Err(error) => Err(failed(error)),
    }
}

/// Writes a new secret file with mode 0600, whole or not at all. An existing file is an error.
///
/// # Errors
/// [`SecretFileError::Io`].
pub fn create(path: &Path, text: &str) -> Result<(), SecretFileError> {
    let failed = |source| SecretFileError::Io { operation: "write", path: path.to_owned(), source };
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = write_new(&temporary, text).and_then(|()| fs::hard_link(&temporary, path));
    let removed = fs::remove_file(&temporary);
    written.map_err(failed)?;
    removed.map_err(failed)?;
    sync_folder(path).map_err(failed)
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn reads_back_what_it_wrote_and_never_overwrites() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        create(&path, "one\n").unwrap();
        assert_eq!(read(&path).unwrap().as_str(), "one\n");
        assert!(create(&path, "two\n").is_err());
        assert_eq!(read(&path).unwrap().as_str(), "one\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_credential_of_systemd_may_show_the_mask_of_its_access_list() {
        let folder = Some(Path::new("/run/credentials/edge.service"));
        let table = [
            ("/run/credentials/edge.service/key", 0o400, folder, true),
            ("/run/credentials/edge.service/key", 0o440, folder, true),
            ("/run/credentials/edge.service/key", 0o444, folder, false),
            ("/run/credentials/edge.service/key", 0o460, folder, false),
            ("/run/credentials/edge.service/key", 0o440, None, false),
            ("/run/credentials/other.service/key", 0o440, folder, false),
            ("/etc/landfall/key", 0o440, folder, false),
            ("/etc/landfall/key", 0o600, folder, true),
        ];
        for (path, mode, folder, expected) in table {
            assert_eq!(is_private(mode, Path::new(path), folder), expected, "{path} {mode:o}");
        }
    }

    #[test]
    fn refuses_a_file_that_others_can_reach() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        create(&path, "one\n").unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("chmod 600"), "{error}");
        }
    }
}
