//! Credentials in texts: searched in every form that they usually take, and blotted out.
//!
//! A [`Scanner`] holds one automaton over all forms of all credentials, reads texts of any length
//! in bounded memory, and never says a value. It finds a credential raw, in base64 of any text that
//! holds it, in hex, percent-encoded, as JSON, SQL, HTML, CSV, pgpass and shell spell it, as
//! Postgres' md5 for a given role, and as a SCRAM verifier. It does not find what is compressed or
//! encrypted, what is broken over lines, or encodings in encodings beside JSON in JSON and SQL in
//! JSON.

mod forms;
mod pieces;
mod redact;
mod scram;
mod shapes;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    io::Read,
};

use aho_corasick::{MatchKind, PatternID, StartKind, automaton::Automaton, dfa::DFA};
use md5::{Digest, Md5};

use self::{
    redact::Markers,
    scram::{Judge, Owner, Verifier},
};
use crate::run::facts::{Leak, LeakFacts};
use crate::run::key;

/// Finds and names that stand in facts.
pub const EXAMPLES: usize = 20;
/// Characters of a place in facts.
const PLACE: usize = 200;
/// Bytes behind the begin of a shape or verifier that decide about it.
const LOOKAHEAD: usize = 1024;
/// Prefix of Postgres' md5 verifiers.
const MD5: &str = "md5";

/// Something that must not be in a text.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Name in facts and markers.
    pub name: String,
    value: Vec<u8>,
}

impl Credential {
    /// A credential; line ends behind the value, as in files, do not belong to it. An empty one is
    /// never found.
    ///
    /// One that is shorter than eight characters is looked for as it is and as it is spelled, but
    /// not encoded; if it is a common word, every occurrence of the word is found.
    pub fn new(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        let mut value = value.into();
        while value.pop_if(|byte| matches!(byte, b'\r' | b'\n')).is_some() {}
        Self {
            name: name.into(),
            value,
        }
    }

    /// The value itself.
    pub fn value(&self) -> &[u8] {
        &self.value
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// There are more forms of credentials than an automaton can hold.
#[derive(Debug, thiserror::Error)]
#[error("too many credentials to look for: {0}")]
pub struct TooMany(#[from] aho_corasick::BuildError);

/// Looks for credentials.
pub struct Scanner {
    credentials: Vec<Credential>,
    automaton: DFA,
    patterns: Vec<Pattern>,
    /// Bytes of the longest pattern.
    longest: usize,
    /// `md5(password‖role)`, with the credential's index.
    md5: HashMap<[u8; 16], usize>,
    judge: Judge,
    markers: Markers,
}

/// Kind of a pattern of the automaton.
#[derive(Clone, Copy)]
enum Pattern {
    /// A form of the credential with this index.
    Form {
        credential: usize,
        form: &'static str,
    },
    /// The begin of Postgres' md5.
    Md5,
    /// The begin of a SCRAM verifier.
    Scram,
    /// The begin of the shape with this index.
    Shape(usize),
}

/// Kind of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// The credential with this index.
    Credential {
        credential: usize,
        form: &'static str,
    },
    /// A SCRAM verifier that is made from none of the credentials, or was not computed.
    Verifier { computed: bool },
    /// A shape with this name.
    Shape(&'static str),
}

impl fmt::Debug for Scanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scanner")
            .field("credentials", &self.credentials)
            .field("patterns", &self.patterns.len())
            .finish_non_exhaustive()
    }
}

impl Scanner {
    /// A scanner for these credentials. `roles` are those whose name Postgres may have hashed with
    /// a password. Of credentials with the same value the first gives its name.
    ///
    /// # Errors
    /// There are too many.
    pub fn new(credentials: Vec<Credential>, roles: &[String]) -> Result<Self, TooMany> {
        let mut known = HashSet::new();
        let (mut texts, mut patterns) = (Vec::new(), Vec::new());
        for (credential, Credential { value, .. }) in credentials.iter().enumerate() {
            for (form, text) in forms::of(value) {
                if known.insert(text.clone()) {
                    patterns.push(Pattern::Form { credential, form });
                    texts.push(text);
                }
            }
        }
        for (index, shape) in shapes::ALL.iter().enumerate() {
            patterns.push(Pattern::Shape(index));
            texts.push(shape.anchor.into());
        }
        patterns.extend([Pattern::Md5, Pattern::Scram]);
        texts.extend([MD5.into(), scram::PREFIX.to_vec()]);
        let automaton = DFA::builder()
            .match_kind(MatchKind::Standard)
            .start_kind(StartKind::Unanchored)
            .prefilter(false)
            .build(&texts)?;
        let mut scanner = Self {
            md5: md5_of(&credentials, roles),
            credentials,
            automaton,
            patterns,
            longest: texts.iter().map(Vec::len).max().unwrap_or_default(),
            judge: Judge::default(),
            markers: Markers::default(),
        };
        scanner.markers = Markers::new(&scanner, &texts);
        Ok(scanner)
    }

    /// Searches a text, and adds what is found to the facts. `place` is the file, container or
    /// object that it is; it is redacted before it stands in facts, since its name may come from
    /// the author of the text. What cannot be read stands there as unread.
    ///
    /// The canary is no leak: that it was found makes `canary` true.
    pub fn search(&self, place: &str, text: impl Read, facts: &mut LeakFacts) {
        self.search_by(place, text, facts, pieces::PIECE);
    }

    fn search_by(&self, place: &str, text: impl Read, facts: &mut LeakFacts, size: usize) {
        let mut finds: BTreeMap<(usize, &'static str), u64> = BTreeMap::new();
        let mut bytes = 0;
        let read = pieces::each(self, text, size, |piece| {
            bytes += piece.bytes.len() as u64;
            for span in piece.spans {
                let shape = match span.what {
                    What::Credential { credential, form } => {
                        *finds.entry((credential, form)).or_default() += 1;
                        continue;
                    }
                    What::Verifier { computed: true } => "SCRAM verifier",
                    What::Verifier { computed: false } => "SCRAM verifier, not computed",
                    What::Shape(name) => name,
                };
                *facts.shapes.entry(shape.to_owned()).or_default() += 1;
            }
            Ok(())
        });
        facts.texts += 1;
        facts.bytes += bytes;
        if let Err(error) = read {
            self.unread(place, &error.to_string(), facts);
        }
        for ((credential, form), count) in finds {
            let credential = &self.credentials[credential].name;
            if credential == key::CANARY {
                facts.canary = true;
                continue;
            }
            facts.found_count += count;
            let place = self.place(place);
            let same = |leak: &&mut Leak| {
                leak.credential == *credential && leak.form == form && leak.place == place
            };
            if let Some(leak) = facts.found.iter_mut().find(same) {
                leak.count += count;
            } else if facts.found.len() < EXAMPLES {
                facts.found.push(Leak {
                    credential: credential.clone(),
                    form: form.to_owned(),
                    place,
                    count,
                });
            }
        }
    }

    /// Notes that a text could not be searched.
    pub fn unread(&self, place: &str, why: &str, facts: &mut LeakFacts) {
        if facts.unread.len() < EXAMPLES {
            facts.unread.push(format!("{}: {why}", self.place(place)));
        }
    }

    /// A name from outside the operator, made safe for facts: without credentials, in printable
    /// ASCII, and not long.
    pub fn place(&self, name: &str) -> String {
        let mut shown = String::new();
        for character in self.redacted(name).chars() {
            match character {
                ' '..='~' => shown.push(character),
                _ => shown.extend(character.escape_default()),
            }
        }
        // What is escaped may be a form that it was not before.
        let mut shown = self.redacted(&shown);
        if let Some((cut, _)) = shown.char_indices().nth(PLACE) {
            shown.truncate(cut);
            shown.push('…');
        }
        shown
    }

    /// Bytes that are kept back at the end of a piece, so that every match that begins in front of
    /// them can be decided.
    fn hold(&self) -> usize {
        self.longest.max(LOOKAHEAD)
    }

    /// Returns true if a text in memory contains a credential.
    fn is_in(&self, text: &[u8]) -> bool {
        let mut found = false;
        // Memory can be read.
        let _ = pieces::each(self, text, pieces::PIECE, |piece| {
            found |= piece
                .spans
                .iter()
                .any(|span| !matches!(span.what, What::Shape(_)));
            Ok(())
        });
        found
    }

    /// Returns the kind and length of the match that begins at `start` of the text with this
    /// pattern.
    fn decide(&self, text: &[u8], start: usize, pattern: PatternID) -> Option<(usize, What)> {
        let length = self.automaton.pattern_len(pattern);
        let after = &text[start + length..];
        match self.patterns[pattern.as_usize()] {
            Pattern::Form { credential, form } => {
                Some((length, What::Credential { credential, form }))
            }
            Pattern::Md5 => {
                let digest = md5_in(after)?;
                let what = match self.md5.get(&digest) {
                    Some(&credential) => What::Credential {
                        credential,
                        form: MD5,
                    },
                    None if after.get(32).is_some_and(u8::is_ascii_alphanumeric) => return None,
                    None => What::Shape("md5 verifier"),
                };
                Some((length + 32, what))
            }
            Pattern::Scram => {
                let verifier = Verifier::parse(after)?;
                let passwords: Vec<&[u8]> = self.credentials.iter().map(|c| &c.value[..]).collect();
                let what = match self.judge.owner(&verifier, &passwords) {
                    Owner::Ours(credential) => What::Credential {
                        credential,
                        form: "scram",
                    },
                    Owner::Foreign => What::Verifier { computed: true },
                    Owner::Unknown => What::Verifier { computed: false },
                };
                Some((length + verifier.length, what))
            }
            Pattern::Shape(index) => {
                let shape = &shapes::ALL[index];
                let before = start.checked_sub(1).map(|before| text[before]);
                shape
                    .fits(before, after)
                    .then_some((length, What::Shape(shape.name)))
            }
        }
    }
}

/// The md5 of every password with every role, each with the first credential that has it.
fn md5_of(credentials: &[Credential], roles: &[String]) -> HashMap<[u8; 16], usize> {
    let mut known = HashMap::new();
    for (credential, Credential { value, .. }) in credentials.iter().enumerate() {
        if value.is_empty() {
            continue;
        }
        let password = Md5::new_with_prefix(value);
        for role in roles {
            let digest = password.clone().chain_update(role).finalize();
            known.entry(digest.into()).or_insert(credential);
        }
    }
    known
}

/// The md5 that a text begins with, in lower-case hex.
fn md5_in(text: &[u8]) -> Option<[u8; 16]> {
    let mut digest = [0; 16];
    for (byte, digits) in digest.iter_mut().zip(text.get(..32)?.chunks(2)) {
        if digits.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(digest)
}
