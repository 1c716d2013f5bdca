//! Reads bodies with a JSON object in each line, line by line.

use std::collections::VecDeque;

use axum::extract::Request;
use http::StatusCode;
use zeroize::Zeroizing;

use super::{Kind, append, read_of_kind};
use crate::api::problem::Problem;

const LINES: Kind = Kind {
    names: &["application/x-ndjson"],
    expected: "Expected a JSON object a line, with `Content-Type: application/x-ndjson`.",
};

/// How much a body of lines may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LineLimits {
    /// Bytes in all.
    pub(crate) body: usize,
    /// Bytes of one line.
    pub(crate) line: usize,
    /// Lines, those that are empty apart.
    pub(crate) lines: usize,
}

/// A line that is not empty.
pub(crate) struct Line {
    /// Counted from 1, empty lines too.
    pub(crate) number: usize,
    /// What it holds, which is wiped.
    pub(crate) json: Zeroizing<Vec<u8>>,
}

/// Reads a body that has a JSON object in each line. One that is too large is refused as soon as it is.
pub(crate) async fn read_lines(
    request: Request,
    limits: LineLimits,
) -> Result<VecDeque<Line>, Problem> {
    let mut lines = Lines::new(limits);
    read_of_kind(request, LINES, limits.body, |chunk| lines.take(chunk)).await?;
    lines.end()
}

/// The lines of a body that comes in pieces.
struct Lines {
    limits: LineLimits,
    /// How many lines have ended.
    number: usize,
    /// What there is of the next one.
    begun: Zeroizing<Vec<u8>>,
    found: VecDeque<Line>,
}

impl Lines {
    fn new(limits: LineLimits) -> Self {
        Self { limits, number: 0, begun: Zeroizing::new(Vec::new()), found: VecDeque::new() }
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), Problem> {
        let mut parts = chunk.split(|byte| *byte == b'\n');
        let begun = parts.next_back().unwrap_or_default();
        for part in parts {
            self.append(part)?;
            self.end_line()?;
        }
        self.append(begun)
    }

    fn append(&mut self, part: &[u8]) -> Result<(), Problem> {
        if self.begun.len() + part.len() > self.limits.line {
            let (number, most) = (self.number + 1, self.limits.line);
            let detail = format!("Line {number} has more than {most} bytes.");
            return Err(too_large("line_too_long", detail));
        }
        append(&mut self.begun, part);
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), Problem> {
        self.number += 1;
        let json = std::mem::replace(&mut self.begun, Zeroizing::new(Vec::new()));
        if json.trim_ascii().is_empty() {
            return Ok(());
        }
        if self.found.len() == self.limits.lines {
            let detail = format!("An import may have {} lines.", self.limits.lines);
            return Err(too_large("too_many_lines", detail));
        }
        self.found.push_back(Line { number: self.number, json });
        Ok(())
    }

    fn end(mut self) -> Result<VecDeque<Line>, Problem> {
        self.end_line()?;
        Ok(self.found)
    }
}

fn too_large(code: &'static str, detail: String) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, code, "The body is too large", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: LineLimits = LineLimits { body: 100, line: 6, lines: 3 };

    fn lines(chunks: &[&str]) -> Result<Vec<(usize, String)>, &'static str> {
        let mut lines = Lines::new(LIMITS);
        for chunk in chunks {
            lines.take(chunk.as_bytes()).map_err(|problem| problem.code())?;
        }
        let found = lines.end().map_err(|problem| problem.code())?;
        let told = |line: Line| (line.number, String::from_utf8_lossy(&line.json).into_owned());
        Ok(found.into_iter().map(told).collect())
    }

    #[test]
    fn lines_are_the_same_however_their_body_is_cut() {
        let expected = [(1, "{1}"), (3, "{2}\r"), (5, "{3}")];
        let expected = expected.map(|(number, line)| (number, line.to_owned())).to_vec();
        let body = "{1}\n \r\n{2}\r\n\n{3}";
        assert_eq!(lines(&[body]), Ok(expected.clone()));
        let bytes: Vec<&str> = body.split("").collect();
        assert_eq!(lines(&bytes), Ok(expected));
        assert_eq!(lines(&[]), Ok(Vec::new()));
    }

    #[test]
    fn lines_and_their_number_have_bounds() {
        assert_eq!(lines(&["{1}\n", "{12", "345}\n"]), Err("line_too_long"));
        assert_eq!(lines(&["1\n2\n3\n\n"]).map(|lines| lines.len()), Ok(3));
        assert_eq!(lines(&["1\n2\n3\n4"]), Err("too_many_lines"));
    }
}
