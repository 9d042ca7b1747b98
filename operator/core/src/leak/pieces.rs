//! A text of any length, read piece by piece: what stands in it does not depend on where the pieces
//! end.

use std::{
    cmp::Reverse,
    io::{self, Read},
};

use aho_corasick::{Anchored, PatternID, automaton::Automaton, dfa::DFA};

use super::{Scanner, What};

/// Bytes that are read at a time.
pub(super) const PIECE: usize = 256 << 10;
/// Parts of a piece that are searched side by side: each waits for its own next state, so the
/// processor has something to do meanwhile.
const LANES: usize = 4;

/// Something that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Offset of its first byte in the text.
    pub(super) start: u64,
    /// Offset behind its last byte.
    pub(super) end: u64,
    pub(super) what: What,
}

/// The next part of a text, with every match that begins in it, in order; the last may end behind
/// it.
pub(super) struct Piece<'a> {
    pub(super) offset: u64,
    pub(super) bytes: &'a [u8],
    pub(super) spans: &'a [Span],
}

/// Hands over the text piece by piece, and gives its length. When it cannot be read to its end,
/// what could be read is handed over first.
pub(super) fn each(
    scanner: &Scanner,
    mut text: impl Read,
    size: usize,
    mut take: impl FnMut(Piece<'_>) -> io::Result<()>,
) -> io::Result<u64> {
    let mut buffer = Vec::new();
    // Offset of the buffer in the text; what of the buffer was handed over; what begins behind
    // that.
    let (mut offset, mut done) = (0, 0);
    let mut pending: Vec<(usize, PatternID)> = Vec::new();
    let mut contained = Contained::new(scanner);
    let mut spans = Vec::new();
    loop {
        let searched = buffer.len();
        let read = text.by_ref().take(size as u64).read_to_end(&mut buffer);
        let last = !matches!(read, Ok(read) if read == size);
        find(
            &scanner.automaton,
            scanner.longest,
            &buffer,
            searched,
            |end, pattern| {
                pending.push((end - scanner.automaton.pattern_len(pattern), pattern));
            },
        );
        // Every match that begins in front of this place has ended in the buffer, with the bytes
        // that decide about it.
        let ready = if last {
            buffer.len()
        } else {
            buffer.len().saturating_sub(scanner.hold()).max(done)
        };
        spans.clear();
        pending.retain(|(start, pattern)| {
            if *start >= ready {
                return true;
            }
            if let Some((length, what)) = scanner.decide(&buffer, *start, *pattern) {
                let start = offset + *start as u64;
                spans.push(Span {
                    start,
                    end: start + length as u64,
                    what,
                });
            }
            false
        });
        spans.sort_by_key(|span| (span.start, Reverse(span.end)));
        spans.retain(|span| contained.is_new(span));
        take(Piece {
            offset: offset + done as u64,
            bytes: &buffer[done..ready],
            spans: &spans,
        })?;
        if last {
            return read.map(|_| offset + buffer.len() as u64);
        }
        // The byte in front stays: a token begins where a word begins.
        let gone = ready.saturating_sub(1);
        buffer.drain(..gone);
        pending.iter_mut().for_each(|(start, _)| *start -= gone);
        offset += gone as u64;
        done = ready - gone;
    }
}

/// Leaves out what is a part of a longer form of the same credential: `a''b` holds `a'` too.
struct Contained(Vec<u64>);

impl Contained {
    fn new(scanner: &Scanner) -> Self {
        Self(vec![0; scanner.credentials.len()])
    }

    fn is_new(&mut self, span: &Span) -> bool {
        let What::Credential { credential, .. } = span.what else {
            return true;
        };
        let end = &mut self.0[credential];
        let new = span.end > *end;
        *end = span.end.max(*end);
        new
    }
}

/// Finds every pattern that ends behind `from`, with its end. What the text has in front of it was
/// searched before.
fn find(
    automaton: &DFA,
    longest: usize,
    text: &[u8],
    from: usize,
    mut found: impl FnMut(usize, PatternID),
) {
    // Only for an anchored search there might be none.
    let Ok(root) = automaton.start_state(Anchored::No) else {
        return;
    };
    let mut tell = |state, end| {
        if automaton.is_match(state) {
            for index in 0..automaton.match_len(state) {
                found(end, automaton.match_pattern(state, index));
            }
        }
    };
    let next = |state, byte| automaton.next_state(Anchored::No, state, byte);
    // The state at a place is that of the longest pattern that may have begun in front of it.
    let state_at = |place: usize| {
        text[place.saturating_sub(longest)..place]
            .iter()
            .fold(root, |state, byte| next(state, *byte))
    };
    let mut from = from;
    let length = (text.len() - from) / LANES;
    if length > longest {
        let begins: [usize; LANES] = std::array::from_fn(|lane| from + lane * length);
        let [mut a, mut b, mut c, mut d] = begins.map(state_at);
        let lanes = begins.map(|begin| &text[begin..begin + length]);
        #[allow(clippy::needless_range_loop, reason = "it is the place in all four")]
        for place in 0..length {
            a = next(a, lanes[0][place]);
            b = next(b, lanes[1][place]);
            c = next(c, lanes[2][place]);
            d = next(d, lanes[3][place]);
            let special = [a, b, c, d].map(|state| automaton.is_special(state));
            if special != [false; LANES] {
                for (state, begin) in [a, b, c, d].into_iter().zip(begins) {
                    tell(state, begin + place + 1);
                }
            }
        }
        from += LANES * length;
    }
    let mut state = state_at(from);
    for (place, byte) in text.iter().enumerate().skip(from) {
        state = next(state, *byte);
        if automaton.is_special(state) {
            tell(state, place + 1);
        }
    }
}
