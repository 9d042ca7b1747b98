//! Blotting out: no form of a credential is left, and nothing new comes about where something was
//! taken out.

use std::io::{self, Read, Write};

use super::{
    Scanner, What,
    pieces::{self, PIECE},
};

/// Delimiters of a marker, the first pair that no form of a credential contains.
const BORDERS: [(&str, &str); 12] = [
    ("[", "]"),
    ("<", ">"),
    ("{", "}"),
    ("(", ")"),
    ("~", "~"),
    ("^", "^"),
    ("|", "|"),
    ("#", "#"),
    ("!", "!"),
    ("@", "@"),
    ("§", "§"),
    ("«", "»"),
];

/// Markers that replace credentials.
#[derive(Debug, Default)]
pub(super) struct Markers {
    /// By the credential's index.
    credentials: Vec<String>,
    /// For a SCRAM verifier of another password.
    verifier: String,
}

impl Markers {
    /// A word in a marker may be a (bad) password itself, and a password may begin or end like a
    /// marker: neither must make a find of a marker.
    pub(super) fn new(scanner: &Scanner, patterns: &[Vec<u8>]) -> Self {
        let reaches = |byte: Option<&u8>| {
            byte.is_none_or(|byte| patterns.iter().any(|pattern| pattern.contains(byte)))
        };
        let (open, close) = BORDERS
            .into_iter()
            .find(|(open, close)| {
                !reaches(open.as_bytes().first()) && !reaches(close.as_bytes().last())
            })
            .unwrap_or(BORDERS[0]);
        let marker = |name: &str| {
            [&format!("redacted {name}"), "redacted", "***", ""]
                .into_iter()
                .map(|inside| format!("{open}{inside}{close}"))
                .find(|marker| !scanner.is_in(marker.as_bytes()))
                .unwrap_or_default()
        };
        Self {
            credentials: scanner
                .credentials
                .iter()
                .map(|credential| marker(&credential.name))
                .collect(),
            verifier: marker("SCRAM verifier"),
        }
    }
}

impl Scanner {
    /// Copies the text with a marker in the place of every form of every credential, and of every
    /// SCRAM verifier, whosever it is: each allows guessing. Gives the number of finds; those that
    /// overlap have one marker, with the name of the first.
    ///
    /// # Errors
    /// The text cannot be read, or the copy not be written.
    pub fn redact(&self, text: impl Read, copy: impl Write) -> io::Result<u64> {
        self.redact_by(text, copy, PIECE)
    }

    /// The same for a text in memory. What is no UTF-8 in it becomes U+FFFD.
    pub fn redacted(&self, text: &str) -> String {
        let mut copy = Vec::new();
        // Memory can be read and written.
        let _ = self.redact(text.as_bytes(), &mut copy);
        String::from_utf8(copy)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    pub(super) fn redact_by(
        &self,
        text: impl Read,
        mut copy: impl Write,
        size: usize,
    ) -> io::Result<u64> {
        let (mut finds, mut covered) = (0, 0);
        pieces::each(self, text, size, |piece| {
            let end = piece.offset + piece.bytes.len() as u64;
            let part = |from: u64, to: u64| {
                // Both lie in the piece.
                let index = |place: u64| usize::try_from(place - piece.offset).unwrap_or(0);
                &piece.bytes[index(from)..index(to)]
            };
            let mut written = piece.offset.max(covered.min(end));
            for span in piece.spans {
                let marker = match span.what {
                    What::Credential { credential, .. } => &self.markers.credentials[credential],
                    What::Verifier { .. } => &self.markers.verifier,
                    What::Shape(_) => continue,
                };
                finds += 1;
                if span.start >= covered {
                    copy.write_all(part(written, span.start))?;
                    copy.write_all(marker.as_bytes())?;
                }
                covered = covered.max(span.end);
                written = written.max(covered.min(end));
            }
            copy.write_all(part(written, end))
        })?;
        copy.flush()?;
        Ok(finds)
    }
}
