//! How far an HTTP/2 client is in what it sends (RFC 9113 sections 3.4 and 4.1).
//!
//! Reads frame heads, to tell a client that pauses between frames from one that drips a header, and
//! counts the frames that cost a server more than their client. What is invalid is left to the
//! HTTP/2 implementation to refuse.

/// `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`
const PREFACE_LEN: u32 = 24;
const HEAD_LEN: usize = 9;
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
/// Bytes. Nobody who wants a response opens a window by fewer.
const TINY: u32 = 128;

/// Follows the bytes of one direction of a connection.
#[derive(Debug)]
pub(super) struct Frames {
    state: State,
    /// A HEADERS frame came without END_HEADERS, and its CONTINUATION hasn't ended it.
    in_header_block: bool,
    counts: Counts,
}

/// Frames that are cheap to send and not to get, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// SETTINGS, PING, PRIORITY, GOAWAY, unknown ones, and DATA with nothing in it.
    pub(super) control: u32,
    /// RST_STREAM: requests that were begun for nothing.
    pub(super) resets: u32,
    /// WINDOW_UPDATE.
    pub(super) windows: u32,
    /// Those of them that open next to nothing.
    pub(super) tiny_windows: u32,
}

#[derive(Debug)]
enum State {
    Preface { left: u32 },
    Head { bytes: [u8; HEAD_LEN], filled: usize },
    Payload { left: u32, kind: u8, value: u32 },
}

impl Frames {
    pub(super) fn new() -> Self {
        Self {
            state: State::Preface { left: PREFACE_LEN },
            in_header_block: false,
            counts: Counts::default(),
        }
    }

    /// Whether the client owes the rest of the preface, of a header block or of a frame that
    /// carries no content. Content may take its time.
    pub(super) fn is_incomplete(&self) -> bool {
        self.in_header_block
            || match self.state {
                State::Preface { .. } => true,
                State::Head { filled, .. } => filled > 0,
                State::Payload { kind, .. } => kind != DATA,
            }
    }

    /// What was counted since the last call.
    pub(super) fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Takes what arrived.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match &mut self.state {
                State::Preface { left } => {
                    let rest = skip(left, bytes);
                    if *left == 0 {
                        self.state = State::between_frames();
                    }
                    rest
                }
                State::Payload { left, kind, value } => {
                    let rest = skip(left, bytes);
                    if *kind == WINDOW_UPDATE {
                        let taken = bytes.len() - rest.len();
                        let taken = bytes.iter().take(taken);
                        *value = taken.fold(*value, |value, byte| value << 8 | u32::from(*byte));
                    }
                    if *left == 0 {
                        if *kind == WINDOW_UPDATE && *value < TINY {
                            self.counts.tiny_windows += 1;
                        }
                        self.state = State::between_frames();
                    }
                    rest
                }
                State::Head { bytes: head, filled } => {
                    let (taken, rest) = bytes.split_at(bytes.len().min(HEAD_LEN - *filled));
                    for (to, from) in head.iter_mut().skip(*filled).zip(taken) {
                        *to = *from;
                    }
                    *filled += taken.len();
                    if *filled == HEAD_LEN {
                        let head = *head;
                        self.start_frame(head);
                    }
                    rest
                }
            };
        }
    }

    fn start_frame(&mut self, head: [u8; HEAD_LEN]) {
        let [high, middle, low, kind, flags, ..] = head;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.in_header_block = flags & END_HEADERS == 0;
        }
        let len = u32::from_be_bytes([0, high, middle, low]);
        self.count(kind, flags, len);
        self.state = match len {
            0 => State::between_frames(),
            left => State::Payload { left, kind, value: 0 },
        };
    }
}

impl Frames {
    fn count(&mut self, kind: u8, flags: u8, len: u32) {
        let counts = &mut self.counts;
        match kind {
            DATA if len == 0 && flags & END_STREAM == 0 => counts.control += 1,
            DATA | HEADERS | CONTINUATION => {}
            RST_STREAM => counts.resets += 1,
            WINDOW_UPDATE => counts.windows += 1,
            _ => counts.control += 1,
        }
    }
}

impl State {
    fn between_frames() -> Self {
        Self::Head { bytes: [0; HEAD_LEN], filled: 0 }
    }
}

/// Takes up to `left` bytes off the front.
fn skip<'a>(left: &mut u32, bytes: &'a [u8]) -> &'a [u8] {
    let taken = bytes.len().min(*left as usize);
    *left = left.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX));
    bytes.get(taken..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = vec![len[1], len[2], len[3], kind, flags, 0, 0, 0, 1];
        bytes.extend_from_slice(payload);
        bytes
    }

    fn connected() -> Frames {
        let mut frames = Frames::new();
        frames.feed(PREFACE);
        frames.feed(&frame(0x4, 0, &[0; 6]));
        frames
    }

    #[test]
    fn the_preface_is_owed_until_its_last_byte() {
        let mut frames = Frames::new();
        assert!(frames.is_incomplete());
        frames.feed(&PREFACE[..23]);
        assert!(frames.is_incomplete());
        frames.feed(&PREFACE[23..]);
        assert!(!frames.is_incomplete());
    }

    #[test]
    fn a_header_block_is_owed_until_end_headers() {
        let mut frames = connected();
        frames.feed(&frame(HEADERS, 0, b"abc"));
        assert!(frames.is_incomplete());
        frames.feed(&frame(CONTINUATION, 0, b""));
        assert!(frames.is_incomplete());
        frames.feed(&frame(CONTINUATION, END_HEADERS, b"d"));
        assert!(!frames.is_incomplete());
    }

    #[test]
    fn a_header_frame_is_owed_until_its_last_byte() {
        let mut frames = connected();
        let bytes = frame(HEADERS, END_HEADERS, b"abc");
        for byte in &bytes[..bytes.len() - 1] {
            frames.feed(&[*byte]);
            assert!(frames.is_incomplete());
        }
        frames.feed(&bytes[bytes.len() - 1..]);
        assert!(!frames.is_incomplete());
    }

    #[test]
    fn content_may_take_its_time() {
        let mut frames = connected();
        let bytes = frame(DATA, 0, &[7; 100]);
        frames.feed(&bytes[..50]);
        assert!(!frames.is_incomplete());
        frames.feed(&bytes[50..]);
        assert!(!frames.is_incomplete());
    }

    #[test]
    fn frames_are_counted_by_what_they_cost() {
        let mut frames = connected();
        assert_eq!(frames.take_counts(), Counts { control: 1, ..Counts::default() });
        for kind in [0x2, 0x4, 0x6, 0x7, 0xbe] {
            frames.feed(&frame(kind, 0, &[0; 8]));
        }
        frames.feed(&frame(DATA, 0, b""));
        frames.feed(&frame(DATA, END_STREAM, b""));
        frames.feed(&frame(DATA, 0, b"x"));
        frames.feed(&frame(HEADERS, END_HEADERS, b"x"));
        frames.feed(&frame(RST_STREAM, 0, &[0; 4]));
        for increment in [1_u32, TINY - 1, TINY, 1 << 30] {
            frames.feed(&frame(WINDOW_UPDATE, 0, &increment.to_be_bytes()));
        }
        let expected = Counts { control: 6, resets: 1, windows: 4, tiny_windows: 2 };
        assert_eq!(frames.take_counts(), expected);
        assert_eq!(frames.take_counts(), Counts::default());
    }

    #[test]
    fn the_cuts_between_reads_do_not_matter() {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(0x4, 0, &[0; 12]));
        bytes.extend(frame(HEADERS, END_HEADERS, &[1; 300]));
        bytes.extend(frame(DATA, 1, &[2; 70_000]));
        bytes.extend(frame(HEADERS, 0, &[3; 5]));
        for chunk in [1, 2, 7, 9, 10, 33, 4096, bytes.len()] {
            let mut frames = Frames::new();
            bytes.chunks(chunk).for_each(|part| frames.feed(part));
            assert!(frames.is_incomplete(), "in chunks of {chunk}");
            frames.feed(&frame(CONTINUATION, END_HEADERS, b""));
            assert!(!frames.is_incomplete(), "in chunks of {chunk}");
        }
    }
}
