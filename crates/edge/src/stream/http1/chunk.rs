//! The line before a chunk (RFC 9112 section 7.1).

use super::Fault;

/// The most bytes of a chunk's extensions. Nobody is known to use them.
const MAX_EXTENSION: usize = 128;
/// Digits of a chunk's size, zeros in front included: less than what any reader overflows at.
const MAX_DIGITS: usize = 15;

/// Follows `chunk-size [ chunk-ext ] CRLF` byte by byte.
#[derive(Debug)]
pub(super) struct SizeLine {
    size: u64,
    digits: usize,
    extension: usize,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Size,
    Extension,
    /// After the CR.
    End,
}

/// A line that is complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    /// The bytes that follow; 0 is the last chunk.
    pub(super) size: u64,
    /// The bytes of the line that were new.
    pub(super) taken: usize,
}

impl SizeLine {
    pub(super) fn new() -> Self {
        Self { size: 0, digits: 0, extension: 0, place: Place::Size }
    }

    /// Takes what follows, up to the end of the line.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Result<Option<Chunk>, Fault> {
        for (index, byte) in bytes.iter().enumerate() {
            match (self.place, byte) {
                (Place::Size, b'\r') if self.digits > 0 => self.place = Place::End,
                (Place::Size, b';') if self.digits > 0 => self.place = Place::Extension,
                (Place::Size, digit) => self.add(*digit)?,
                (Place::Extension, b'\r') => self.place = Place::End,
                (Place::Extension, b'\t' | 32..=126 | 128..) if self.extension < MAX_EXTENSION => {
                    self.extension += 1;
                }
                (Place::End, b'\n') => {
                    return Ok(Some(Chunk { size: self.size, taken: index + 1 }));
                }
                (Place::Extension | Place::End, _) => return Err(Fault::Framing),
            }
        }
        Ok(None)
    }

    fn add(&mut self, digit: u8) -> Result<(), Fault> {
        let value = char::from(digit).to_digit(16).ok_or(Fault::Framing)?;
        self.digits += 1;
        if self.digits > MAX_DIGITS {
            return Err(Fault::Framing);
        }
        self.size = (self.size << 4) | u64::from(value);
        Ok(())
    }
}
