//! Files that an operator names: never without end.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

/// The largest file of certificates, in bytes: a system's roots are half a megabyte.
pub const MAX_ROOTS: u64 = 16 << 20;

/// Opens a regular file, and nothing that would keep a reader waiting.
///
/// # Errors
/// The system's.
pub fn open(path: &Path) -> io::Result<File> {
    match fs::metadata(path)?.is_file() {
        true => File::open(path),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}

/// Reads a file of at most `most` bytes.
///
/// # Errors
/// The system's, and [`io::ErrorKind::FileTooLarge`].
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if read as u64 > most {
        let words = format!("it is longer than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, words));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_or_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert_eq!(read(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        for other in [folder.path(), Path::new("/dev/zero")] {
            assert_eq!(read(other, 5).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
