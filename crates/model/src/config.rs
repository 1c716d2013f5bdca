//! What is wrong with an operator's file.

/// One thing to mend in a config file. A file is checked whole: every problem is said at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The dotted path of the key, such as `feed.url`.
    pub key: String,
    /// What is wrong with it and what was expected.
    pub message: String,
}

impl Problem {
    /// A problem with `key`.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }
}
