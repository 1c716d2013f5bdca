//! The place of the tables in `docs/performance.md`.

use std::{fs, path::Path};

use super::LoadError;

const BEGIN: &str = "<!-- tables: `make bench BENCH_FLAGS=--write-docs` writes them -->";
const END: &str = "<!-- end of tables -->";

/// Puts `tables` where the last ones stand.
pub(super) fn write(path: &Path, tables: &str) -> Result<(), LoadError> {
    let text = fs::read_to_string(path).map_err(LoadError::file(path))?;
    let path = path.to_owned();
    let Some(text) = replaced(&text, tables) else {
        return Err(LoadError::NoMarker { path, marker: BEGIN });
    };
    fs::write(&path, text).map_err(LoadError::file(path))
}

fn replaced(text: &str, tables: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", tables.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_is_replaced() {
        let text = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let once = replaced(&text, "new\n").unwrap();
        assert_eq!(once, format!("a\n{BEGIN}\n\nnew\n\n{END}\nb\n"));
        assert_eq!(replaced(&once, "new").unwrap(), once);
        assert_eq!(replaced("a\nb\n", "new"), None);
        assert_eq!(replaced(&format!("{END}{BEGIN}"), "new"), None);
    }

    #[test]
    fn the_document_has_the_markers() {
        let text = include_str!("../../docs/performance.md");
        assert!(replaced(text, "new").is_some());
    }
}
