//! SCRAM verifiers: recomputed from their salt and iterations, to find the known password that they
//! were made from.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Prefix of every verifier.
pub(super) const PREFIX: &[u8] = b"SCRAM-SHA-256$";
/// Digits of a number of iterations that is looked at.
const DIGITS: usize = 20;
/// Characters of base64 of a sha256.
const KEY: usize = 44;
/// Characters of a salt that is looked at; Postgres' own have 24.
const SALT: usize = 128;
/// Iterations of one verifier that are computed; Postgres' default is 4096.
const ITERATIONS: u32 = 100_000;
/// Verifiers that are computed: a text that is full of them must not hold up the search.
const VERIFIERS: usize = 64;
/// Iterations that are computed for all verifiers and passwords together: seconds of one core.
const WORK: u64 = 1 << 24;

/// Fields of a verifier after [`PREFIX`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Vec<u8>,
    /// Bytes that it takes in the text, without the prefix.
    pub(super) length: usize,
}

impl Verifier {
    /// Reads `iterations:salt$StoredKey:ServerKey`. JSON writers may escape the slashes of base64.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let digits = text
            .iter()
            .take(DIGITS)
            .take_while(|b| b.is_ascii_digit())
            .count();
        let iterations = str::from_utf8(&text[..digits]).ok()?.parse().ok();
        let rest = text.get(digits..)?.strip_prefix(b":")?;
        let (salt, rest) = base64(rest, SALT)?;
        let (stored_key, rest) = base64(rest.strip_prefix(b"$")?, KEY)?;
        let (server_key, rest) = base64(rest.strip_prefix(b":")?, KEY)?;
        (stored_key.len() == 32 && server_key.len() == 32).then(|| Self {
            // A number that no u32 holds is never computed.
            iterations: iterations.unwrap_or(u32::MAX),
            salt,
            stored_key,
            length: text.len() - rest.len(),
        })
    }

    fn is_of(&self, password: &[u8]) -> bool {
        let prepared = str::from_utf8(password)
            .ok()
            .and_then(|text| stringprep::saslprep(text).ok());
        let password = prepared.as_deref().map_or(password, str::as_bytes);
        stored_key(password, &self.salt, self.iterations)
            .is_some_and(|key| key[..] == self.stored_key[..])
    }
}

/// Base64 of at most `limit` characters, and what follows it.
fn base64(text: &[u8], limit: usize) -> Option<(Vec<u8>, &[u8])> {
    let mut encoded = Vec::new();
    let mut rest = text;
    while let Some((character, behind)) = rest.split_first() {
        match character {
            b'\\' if behind.starts_with(b"/") => {}
            b'+' | b'/' | b'=' => encoded.push(*character),
            _ if character.is_ascii_alphanumeric() => encoded.push(*character),
            _ => break,
        }
        rest = behind;
        if encoded.len() == limit {
            break;
        }
    }
    Some((STANDARD.decode(encoded).ok()?, rest))
}

/// RFC 5802 with PBKDF2 of one block. Nothing only if the hash refused the password as a key, which
/// HMAC never does.
fn stored_key(password: &[u8], salt: &[u8], iterations: u32) -> Option<[u8; 32]> {
    let keyed = Hmac::<Sha256>::new_from_slice(password).ok()?;
    let mac = |parts: &[&[u8]]| -> [u8; 32] {
        let mut mac = keyed.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    };
    let mut block = mac(&[salt, &1_u32.to_be_bytes()]);
    let mut salted = block;
    for _ in 1..iterations {
        block = mac(&[&block]);
        for (sum, byte) in salted.iter_mut().zip(block) {
            *sum ^= byte;
        }
    }
    let mut client = Hmac::<Sha256>::new_from_slice(&salted).ok()?;
    client.update(b"Client Key");
    Some(Sha256::digest(client.finalize().into_bytes()).into())
}

/// Owner of a verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// It was made from the password with this index.
    Ours(usize),
    /// It was made from none of the passwords.
    Foreign,
    /// It was not computed: too many of them, or too many iterations.
    Unknown,
}

/// Finds the owners of verifiers, each once and within bounds.
#[derive(Debug, Default)]
pub(super) struct Judge(Mutex<Judged>);

#[derive(Debug, Default)]
struct Judged {
    owners: HashMap<Verifier, Owner>,
    work: u64,
}

impl Judge {
    pub(super) fn owner(&self, verifier: &Verifier, passwords: &[&[u8]]) -> Owner {
        let mut judged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(owner) = judged.owners.get(verifier) {
            return *owner;
        }
        let work = judged.work + u64::from(verifier.iterations) * passwords.len() as u64;
        if verifier.iterations > ITERATIONS || judged.owners.len() == VERIFIERS || work > WORK {
            return Owner::Unknown;
        }
        let owner = passwords
            .iter()
            .position(|password| verifier.is_of(password))
            .map_or(Owner::Foreign, Owner::Ours);
        judged.work = work;
        judged.owners.insert(verifier.clone(), owner);
        owner
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A verifier as Postgres makes it, with few iterations so that tests are quick.
    pub(in super::super) fn verifier(password: &str, iterations: u32, salt: &[u8]) -> String {
        let key = stored_key(password.as_bytes(), salt, iterations).unwrap();
        format!(
            "SCRAM-SHA-256${iterations}:{}${}:{}",
            STANDARD.encode(salt),
            STANDARD.encode(key),
            STANDARD.encode([7; 32])
        )
    }

    fn parse(text: &str) -> Option<Verifier> {
        Verifier::parse(text.as_bytes().strip_prefix(PREFIX)?)
    }

    #[test]
    fn the_key_is_that_of_postgres() {
        // Salt and iterations are those of the example in RFC 7677.
        let key = stored_key(
            b"pencil",
            &STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(),
            4096,
        )
        .unwrap();
        assert_eq!(
            STANDARD.encode(key),
            "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        );
    }

    #[test]
    fn owners_are_told_apart() {
        let judge = Judge::default();
        let passwords: [&[u8]; 2] = [b"first", b"second"];
        let text = verifier("second", 3, b"0123456789abcdef");
        let escaped = text.replace('/', r"\/");
        assert_eq!(
            judge.owner(&parse(&text).unwrap(), &passwords),
            Owner::Ours(1)
        );
        assert_eq!(
            judge.owner(&parse(&escaped).unwrap(), &passwords),
            Owner::Ours(1)
        );
        let foreign = verifier("third", 3, b"0123456789abcdef");
        assert_eq!(
            judge.owner(&parse(&foreign).unwrap(), &passwords),
            Owner::Foreign
        );
    }

    #[test]
    fn hostile_verifiers_cost_little() {
        let judge = Judge::default();
        let passwords: [&[u8]; 1] = [b"first"];
        let mut slow = parse(&verifier("first", 1, b"salt")).unwrap();
        for iterations in [ITERATIONS + 1, u32::MAX] {
            slow.iterations = iterations;
            assert_eq!(judge.owner(&slow, &passwords), Owner::Unknown);
        }
        for salt in 0..VERIFIERS {
            let text = verifier("other", 1, &salt.to_be_bytes());
            assert_eq!(
                judge.owner(&parse(&text).unwrap(), &passwords),
                Owner::Foreign
            );
        }
        let late = parse(&verifier("first", 1, b"late")).unwrap();
        assert_eq!(judge.owner(&late, &passwords), Owner::Unknown);
    }

    #[test]
    fn what_is_no_verifier_is_refused() {
        let good = verifier("first", 1, b"salt");
        assert_eq!(
            parse(&format!("{good} and more")).unwrap().length,
            good.len() - PREFIX.len()
        );
        for bad in [
            &good[..good.len() - 1],
            &good.replace('$', "?"),
            "SCRAM-SHA-256$",
            "SCRAM-SHA-256$4096",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
        let huge = good.replace("$1:", "$99999999999:");
        assert_eq!(parse(&huge).unwrap().iterations, u32::MAX);
    }
}
