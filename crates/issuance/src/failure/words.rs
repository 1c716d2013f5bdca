//! What others said, made fit to be kept and shown.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The most that is kept, in characters.
const MAX: usize = 600;

/// A text of others: on one line, bounded, without control characters and without those that turn the
/// direction of what follows. Otherwise it is verbatim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Words(String);

impl Words {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `text`, in lower case, is in it, in whatever case.
    pub(crate) fn mention(&self, text: &str) -> bool {
        self.0.to_ascii_lowercase().contains(text)
    }
}

impl From<&str> for Words {
    fn from(text: &str) -> Self {
        let shown = text.chars().filter(|char| !turns_text(*char));
        let mut kept = String::new();
        for char in shown.take(MAX + 1) {
            kept.push(if char.is_control() { ' ' } else { char });
        }
        let kept = kept.trim();
        Self(match kept.char_indices().nth(MAX - 1) {
            Some((end, last)) if end + last.len_utf8() < kept.len() => {
                format!("{}…", kept.get(..end).unwrap_or_default())
            }
            _ => kept.to_owned(),
        })
    }
}

impl From<String> for Words {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Words> for String {
    fn from(words: Words) -> Self {
        words.0
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the character is invisible and changes how others are shown (Unicode's bidirectional
/// controls), or separates lines.
fn turns_text(char: char) -> bool {
    matches!(char, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_was_said_on_one_line_and_bounded() {
        assert_eq!(Words::from("DNS problem: NXDOMAIN").as_str(), "DNS problem: NXDOMAIN");
        assert_eq!(Words::from("a\r\nb\u{1b}[31m\u{202e}c\0").as_str(), "a  b [31mc");
        let long = Words::from("ä".repeat(MAX + 9));
        assert_eq!(long.as_str().chars().count(), MAX);
        assert!(long.as_str().ends_with('…'));
        assert_eq!(Words::from("ä".repeat(MAX)).as_str().chars().last(), Some('ä'));
        let read: Words = serde_json::from_str("\"a\\u0007b\"").unwrap();
        assert_eq!(read.as_str(), "a b");
    }
}
