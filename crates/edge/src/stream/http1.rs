//! The strict reader of HTTP/1 requests, in front of pingora's lenient one (RFC 9112).
//!
//! It follows a connection's bytes from request to request and lets none pass that it hasn't
//! validated: a header only once it is whole, the end of a chunked body only with its trailers. One
//! request passes at a time, so whatever is malformed or could be read in two ways is refused
//! before anything behind can disagree on where a request ends (section 11.2).

mod chunk;
mod head;
mod lines;
#[cfg(test)]
mod tests;

use crate::config::Limits;
use chunk::SizeLine;
use head::{Body, Upgrade};
use lines::{Lines, SectionLimits};

/// What the request line takes beside the target, in bytes: `header_size` doesn't count it.
const REQUEST_LINE: usize = 256;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// It isn't HTTP/1.0 or 1.1 by the letter.
    #[error("the request is malformed")]
    Malformed,
    /// Its end is not said once and plainly.
    #[error("the length of the request's body is ambiguous or malformed")]
    Framing,
    /// It has too many bytes or fields.
    #[error("the request header is too large")]
    HeaderTooLarge,
}

/// Follows one direction of a connection. Pure: it has no clock and no socket.
#[derive(Debug)]
pub(super) struct Guard {
    phase: Phase,
    limits: SectionLimits,
    upgrade: Upgrade,
    /// Headers that were let pass, wrapping around.
    passed: u32,
    /// How much was looked at of what was not let pass.
    scanned: usize,
    /// Where, in what was not let pass, the section starts that is being read.
    section: usize,
}

#[derive(Debug)]
enum Phase {
    Header(Lines),
    Body {
        left: u64,
    },
    ChunkSize(SizeLine),
    ChunkData {
        left: u64,
    },
    ChunkCr,
    ChunkLf,
    Trailers(Lines),
    /// The request is complete; the next one must wait for its answer.
    End,
    /// Another protocol (RFC 9110 section 7.8).
    Upgraded,
}

/// What may be done with the bytes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    /// Where what may be passed on starts; what is before is dropped.
    pub(super) from: usize,
    /// Where it ends.
    pub(super) to: usize,
}

/// What the client owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owed {
    /// A request, whenever it likes.
    Request,
    /// The rest of a header.
    Header,
    /// The rest of a body.
    Body,
    /// Nothing: it waits for us.
    Nothing,
}

impl Guard {
    pub(super) fn new(limits: &Limits) -> Self {
        // The request line isn't a field.
        let limits = SectionLimits {
            bytes: limits.header_size.saturating_add(REQUEST_LINE),
            lines: limits.header_count.saturating_add(1),
        };
        Self {
            phase: Phase::Header(Lines::header(limits)),
            limits,
            upgrade: Upgrade::NotWanted,
            passed: 0,
            scanned: 0,
            section: 0,
        }
    }

    /// How many headers were let pass, wrapping around.
    pub(super) fn passed(&self) -> u32 {
        self.passed
    }

    /// Whether a request has passed whole, and bytes after it have to wait.
    pub(super) fn is_at_end(&self) -> bool {
        matches!(self.phase, Phase::End)
    }

    /// The request was answered: another one may come.
    pub(super) fn next_request(&mut self) {
        if self.is_at_end() {
            self.phase = Phase::Header(Lines::header(self.limits));
            self.section = self.scanned;
        }
    }

    /// Whether the last request asked for another protocol, and HTTP/1 is still spoken.
    pub(super) fn may_switch_protocols(&self) -> bool {
        self.upgrade == Upgrade::Wanted && !matches!(self.phase, Phase::Upgraded)
    }

    /// The answer was to switch protocols: what follows passes as it is.
    pub(super) fn switch_protocols(&mut self) {
        self.phase = Phase::Upgraded;
    }

    /// What the client owes, having sent `waiting` bytes that were not let pass.
    pub(super) fn owed(&self, waiting: usize) -> Owed {
        match self.phase {
            Phase::Header(_) if waiting == 0 => Owed::Request,
            Phase::Header(_) => Owed::Header,
            Phase::End | Phase::Upgraded => Owed::Nothing,
            Phase::Body { .. }
            | Phase::ChunkSize(_)
            | Phase::ChunkData { .. }
            | Phase::ChunkCr
            | Phase::ChunkLf
            | Phase::Trailers(_) => Owed::Body,
        }
    }

    /// Looks at what has arrived. `bytes` are all that were not let pass yet: those of the last
    /// call that were held back, and new ones.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<Passed, Fault> {
        let (mut passed, mut headers) = (Passed { from: 0, to: 0 }, 0);
        while let Some(rest) = bytes.get(self.scanned..).filter(|rest| !rest.is_empty()) {
            let step = self.step(bytes, rest)?;
            self.scanned += step.scanned;
            match step.then {
                Then::PassHeader { skip } => {
                    passed = Passed { from: skip, to: self.scanned };
                    headers = 1;
                }
                Then::Pass => passed.to = self.scanned,
                Then::Hold => {}
                Then::Wait => break,
            }
        }
        // Only now: nothing of a read that is refused has passed.
        self.passed = self.passed.wrapping_add(headers);
        self.scanned -= passed.to;
        self.section = self.section.saturating_sub(passed.to);
        Ok(passed)
    }

    fn step(&mut self, bytes: &[u8], rest: &[u8]) -> Result<Step, Fault> {
        let all = rest.len();
        match &mut self.phase {
            Phase::Header(lines) => match lines.scan(rest)? {
                Some(taken) => self.end_header(bytes, taken),
                None => Ok(Step::hold(all)),
            },
            Phase::Body { left } => {
                let taken = take(left, all);
                if *left == 0 {
                    self.phase = Phase::End;
                }
                Ok(Step::pass(taken))
            }
            Phase::ChunkSize(line) => match line.scan(rest)? {
                Some(chunk) => Ok(self.start_chunk(chunk)),
                None => Ok(Step::hold(all)),
            },
            Phase::ChunkData { left } => {
                let taken = take(left, all);
                if *left == 0 {
                    self.phase = Phase::ChunkCr;
                }
                Ok(Step::pass(taken))
            }
            Phase::ChunkCr => self.expect(rest, b'\r', Phase::ChunkLf),
            Phase::ChunkLf => self.expect(rest, b'\n', Phase::ChunkSize(SizeLine::new())),
            Phase::Trailers(lines) => match lines.scan(rest)? {
                Some(taken) => {
                    let end = self.scanned + taken;
                    head::check_trailers(bytes.get(self.section..end).unwrap_or_default())?;
                    self.phase = Phase::End;
                    Ok(Step::pass(taken))
                }
                None => Ok(Step::hold(all)),
            },
            Phase::End => Ok(Step { scanned: 0, then: Then::Wait }),
            Phase::Upgraded => Ok(Step::pass(all)),
        }
    }

    fn end_header(&mut self, bytes: &[u8], taken: usize) -> Result<Step, Fault> {
        let section = bytes.get(self.section..self.scanned + taken).unwrap_or_default();
        let skip = if section.starts_with(b"\r\n") { 2 } else { 0 };
        let head = head::parse(section.get(skip..).unwrap_or_default())?;
        self.upgrade = head.upgrade;
        self.phase = match head.body {
            Body::None | Body::Length(0) => Phase::End,
            Body::Length(left) => Phase::Body { left },
            Body::Chunked => Phase::ChunkSize(SizeLine::new()),
        };
        Ok(Step { scanned: taken, then: Then::PassHeader { skip } })
    }

    fn start_chunk(&mut self, chunk: chunk::Chunk) -> Step {
        if chunk.size == 0 {
            self.section = self.scanned + chunk.taken;
            self.phase = Phase::Trailers(Lines::trailers(self.limits));
            return Step::hold(chunk.taken);
        }
        self.phase = Phase::ChunkData { left: chunk.size };
        Step::pass(chunk.taken)
    }

    fn expect(&mut self, rest: &[u8], byte: u8, next: Phase) -> Result<Step, Fault> {
        match rest.first() {
            Some(first) if *first == byte => {
                self.phase = next;
                Ok(Step::pass(1))
            }
            _ => Err(Fault::Framing),
        }
    }
}

/// What one phase made of the bytes.
struct Step {
    scanned: usize,
    then: Then,
}

enum Then {
    PassHeader { skip: usize },
    Pass,
    Hold,
    Wait,
}

impl Step {
    fn pass(scanned: usize) -> Self {
        Self { scanned, then: Then::Pass }
    }

    fn hold(scanned: usize) -> Self {
        Self { scanned, then: Then::Hold }
    }
}

/// Takes up to `left` of `available`.
fn take(left: &mut u64, available: usize) -> usize {
    let taken = usize::try_from(*left).map_or(available, |left| left.min(available));
    *left -= taken as u64;
    taken
}
