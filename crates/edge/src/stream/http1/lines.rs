//! Finding the end of a header or trailer section, with every line checked for what must not be in
//! any of them.

use super::Fault;

/// Follows a section byte by byte, up to the empty line that ends it.
#[derive(Debug)]
pub(super) struct Lines {
    place: Place,
    /// An empty line at the very start is skipped (RFC 9112 section 2.2), this once.
    may_skip: MaySkip,
    bytes: usize,
    lines: usize,
    limits: SectionLimits,
}

/// How large a section may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct SectionLimits {
    pub(super) bytes: usize,
    /// Lines, without the empty one.
    pub(super) lines: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    LineStart,
    Line,
    /// After the CR of a line that has content.
    LineEnd,
    /// After the CR of an empty line.
    EmptyLineEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MaySkip {
    OneEmptyLine,
    Nothing,
}

impl Lines {
    /// A header: the request line and the fields.
    pub(super) fn header(limits: SectionLimits) -> Self {
        Self::new(MaySkip::OneEmptyLine, limits)
    }

    /// The trailer fields, of which there may be none.
    pub(super) fn trailers(limits: SectionLimits) -> Self {
        Self::new(MaySkip::Nothing, limits)
    }

    fn new(may_skip: MaySkip, limits: SectionLimits) -> Self {
        Self { place: Place::LineStart, may_skip, bytes: 0, lines: 0, limits }
    }

    /// Takes what follows. `Some` is how much of it belongs to the section, which ends there.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        for (index, byte) in bytes.iter().enumerate() {
            self.bytes += 1;
            if self.bytes > self.limits.bytes {
                return Err(Fault::HeaderTooLarge);
            }
            self.place = match (self.place, byte) {
                (Place::LineStart, b'\r') => Place::EmptyLineEnd,
                (Place::Line, b'\r') => Place::LineEnd,
                (Place::EmptyLineEnd, b'\n') => match self.may_skip {
                    MaySkip::OneEmptyLine => Place::LineStart,
                    MaySkip::Nothing => return Ok(Some(index + 1)),
                },
                (Place::LineEnd, b'\n') => Place::LineStart,
                // A CR alone, or an LF alone (RFC 9112 section 2.2), a NUL, a control character.
                (Place::LineEnd | Place::EmptyLineEnd, _) => return Err(Fault::Malformed),
                (_, 0..=8 | 10..=31 | 127) => return Err(Fault::Malformed),
                (Place::LineStart, _) => {
                    self.start_line()?;
                    Place::Line
                }
                (Place::Line, _) => Place::Line,
            };
            if self.place == Place::LineStart {
                self.may_skip = MaySkip::Nothing;
            }
        }
        Ok(None)
    }

    fn start_line(&mut self) -> Result<(), Fault> {
        self.may_skip = MaySkip::Nothing;
        self.lines += 1;
        match self.lines <= self.limits.lines {
            true => Ok(()),
            false => Err(Fault::HeaderTooLarge),
        }
    }
}
