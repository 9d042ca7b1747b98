use crate::run::key;
use std::io;

use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;

use super::{scram::tests::verifier, *};

const PASSWORD: &str = "Zk4mQ9xT2bV7nL8pR3wY6cJ1hG5sDfA0";
const CANARY: &str = "Q0fTk2vXz8LmR5bYc7NwJ1hG4sDpA6uE";
const ROLE: &str = "cutter_exec";

fn scanner(credentials: &[(&str, &str)]) -> Scanner {
    let credentials = credentials
        .iter()
        .map(|(name, value)| Credential::new(*name, *value))
        .collect();
    Scanner::new(credentials, &[ROLE.to_owned()]).unwrap()
}

fn usual() -> Scanner {
    scanner(&[
        ("superuser", PASSWORD),
        ("source", "it's 100% \"säcret\""),
        (key::CANARY, CANARY),
    ])
}

fn search(scanner: &Scanner, text: &str) -> LeakFacts {
    let mut facts = LeakFacts::default();
    scanner.search("a.log", text.as_bytes(), &mut facts);
    facts
}

fn finds(facts: &LeakFacts) -> Vec<(&str, &str, u64)> {
    facts
        .found
        .iter()
        .map(|leak| (&*leak.credential, &*leak.form, leak.count))
        .collect()
}

fn md5(password: &str, role: &str) -> String {
    let digest = Md5::digest(format!("{password}{role}"));
    format!("md5{}", crate::digest::hex(&digest))
}

#[test]
fn a_password_is_found_in_every_form() {
    let scanner = usual();
    let source = "it's 100% \"säcret\"";
    for (text, credential, form) in [
        (format!("password={PASSWORD};"), "superuser", "raw"),
        (
            STANDARD.encode(format!("u:{PASSWORD}")),
            "superuser",
            "base64",
        ),
        (
            STANDARD.encode(format!("us:{PASSWORD}\n")),
            "superuser",
            "base64",
        ),
        (crate::digest::hex(PASSWORD.as_bytes()), "superuser", "hex"),
        (
            crate::digest::hex(PASSWORD.as_bytes()).to_uppercase(),
            "superuser",
            "hex",
        ),
        (md5(PASSWORD, ROLE), "superuser", "md5"),
        (verifier(PASSWORD, 2, b"salt"), "superuser", "scram"),
        (verifier(source, 2, b"salt"), "source", "scram"),
        (format!("x {source}"), "source", "raw"),
        ("PASSWORD 'it''s 100% \"säcret\"'".into(), "source", "sql"),
        (
            "it%27s%20100%25%20%22s%C3%A4cret%22".into(),
            "source",
            "percent",
        ),
        (
            "it%27s+100%25+%22s%c3%a4cret%22".into(),
            "source",
            "percent",
        ),
        (
            serde_json::json!({"statement": format!("x '{}'", source.replace('\'', "''"))})
                .to_string(),
            "source",
            "json",
        ),
        (r#""it's 100% \"s\u00e4cret\"""#.into(), "source", "json"),
    ] {
        let facts = search(&scanner, &text);
        assert_eq!(finds(&facts), [(credential, form, 1)], "{text}");
        assert_eq!((facts.found_count, facts.canary), (1, false));
        let redacted = scanner.redacted(&text);
        assert!(
            redacted.contains(&format!("[redacted {credential}]")),
            "{redacted}"
        );
        assert_eq!(search(&scanner, &redacted).found_count, 0, "{redacted}");
    }
    assert_eq!(
        search(&scanner, &md5(PASSWORD, "another_role")).found_count,
        0
    );
}

#[test]
fn nothing_is_found_where_nothing_is() {
    let text = format!("{} {} it's 100% \"säcre", &PASSWORD[..31], &PASSWORD[1..]);
    let facts = search(&usual(), &text);
    assert_eq!(
        facts,
        LeakFacts {
            texts: 1,
            bytes: text.len() as u64,
            ..LeakFacts::default()
        }
    );
}

#[test]
fn the_canary_is_no_leak_and_is_blotted_out() {
    let scanner = usual();
    let text = format!("SELECT '{CANARY}' AS marker");
    let facts = search(&scanner, &text);
    assert!(facts.canary && facts.found.is_empty() && facts.found_count == 0);
    assert_eq!(
        scanner.redacted(&text),
        "SELECT '[redacted canary]' AS marker"
    );
}

#[test]
fn examples_are_few_and_all_are_counted() {
    let scanner = usual();
    let mut facts = LeakFacts::default();
    for place in 0..30 {
        let text = format!("{PASSWORD} {PASSWORD}");
        scanner.search(&format!("{place}.log"), text.as_bytes(), &mut facts);
    }
    assert_eq!(
        (facts.found.len(), facts.found_count, facts.texts),
        (20, 60, 30)
    );
}

#[test]
fn a_place_says_no_secret_and_stays_on_its_line() {
    let scanner = usual();
    let place = scanner.place(&format!("harness/{PASSWORD}\n\u{1b}[31mä.log"));
    assert_eq!(place, r"harness/[redacted superuser]\n\u{1b}[31m\u{e4}.log");
    assert_eq!(scanner.place(&"x".repeat(500)).chars().count(), 201);
    // Escaped, this name spells the password.
    let odd = self::scanner(&[("source", r"secret\nsecret")]);
    assert_eq!(odd.place("secret\nsecret"), "[redacted source]");
}

#[test]
fn what_cannot_be_read_is_named_and_what_could_be_is_searched() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let mut facts = LeakFacts::default();
    usual().search("a.log", PASSWORD.as_bytes().chain(Broken), &mut facts);
    assert_eq!(facts.unread, ["a.log: the disk is gone"]);
    assert_eq!(facts.found_count, 1);
}

#[test]
fn debug_says_no_value() {
    let text = format!("{:?} {:?}", usual(), Credential::new("a", PASSWORD));
    assert!(
        !text.contains(PASSWORD) && text.contains("superuser"),
        "{text}"
    );
}

#[test]
fn equal_credentials_have_the_first_name() {
    let facts = search(
        &scanner(&[
            ("token-seal", PASSWORD),
            ("token", &format!("{PASSWORD}\n")),
        ]),
        PASSWORD,
    );
    assert_eq!(finds(&facts), [("token-seal", "raw", 1)]);
}

#[test]
fn overlapping_finds_have_one_marker() {
    let scanner = scanner(&[("first", "abcdefgh-ijkl"), ("second", "ijkl-mnopqrst")]);
    let mut copy = Vec::new();
    let text = "<abcdefgh-ijkl-mnopqrst>";
    assert_eq!(scanner.redact(text.as_bytes(), &mut copy).unwrap(), 2);
    assert_eq!(String::from_utf8(copy).unwrap(), "<[redacted first]>");
}

#[test]
fn verifiers_of_others_are_shapes_and_blotted_out() {
    let scanner = usual();
    let text = format!("'{}'", verifier("something else", 2, b"salt"));
    let facts = search(&scanner, &text);
    assert_eq!(
        facts.shapes,
        BTreeMap::from([("SCRAM verifier".to_owned(), 1)])
    );
    assert_eq!(facts.found_count, 0);
    assert_eq!(scanner.redacted(&text), "'[redacted SCRAM verifier]'");
    let slow = verifier("something else", 2, b"salt").replace("$2:", "$4000000000:");
    let shapes = search(&scanner, &slow).shapes;
    assert_eq!(
        shapes,
        BTreeMap::from([("SCRAM verifier, not computed".to_owned(), 1)])
    );
}

#[test]
fn shapes_are_told_from_words() {
    let scanner = usual();
    let digits = "0123456789".repeat(4);
    for (name, text) in [
        ("private key", "-----BEGIN PRIVATE KEY-----".to_owned()),
        (
            "private key",
            "x-----BEGIN RSA PRIVATE KEY-----\n".to_owned(),
        ),
        ("AWS key id", " AKIAIOSFODNN7EXAMPLE ".to_owned()),
        (
            "JSON Web Token",
            "Bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJr".to_owned(),
        ),
        ("GitHub token", format!("=ghp_{}", &digits[..36])),
        ("GitLab token", format!("\"glpat-{}\"", &digits[..20])),
        (
            "password in a URL",
            "postgres://app:hunter2@db/x".to_owned(),
        ),
        ("md5 verifier", md5("other", ROLE)),
    ] {
        let shapes = search(&scanner, &text).shapes;
        assert_eq!(shapes, BTreeMap::from([(name.to_owned(), 1)]), "{text}");
        assert_eq!(scanner.redacted(&text), text, "a shape stays");
    }
    for text in [
        "-----BEGIN CERTIFICATE-----",
        "AKIA",
        "XAKIAIOSFODNN7EXAMPLE",
        "AKIAIOSFODNN7EXAMPLEX",
        "eyJhbGciOiJSUzI1NiJ9 eyJpc3MiOiJr",
        "https://example.org:443/@x",
        "postgres://app@db/x",
        "md5sum",
        &format!("{}0", md5("other", ROLE)),
    ] {
        assert_eq!(search(&scanner, text).shapes, BTreeMap::new(), "{text}");
    }
}

#[test]
fn a_bad_password_does_not_make_finds_of_markers() {
    for password in ["redacted", "source", "[", "]", "***", "d s", "ed source] "] {
        let scanner = scanner(&[("source", password)]);
        let text = format!("a {password}{password} b");
        let redacted = scanner.redacted(&text);
        assert_eq!(search(&scanner, &redacted).found_count, 0, "{redacted}");
    }
}

/// Gives few bytes at a time.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.1.min(buffer.len());
        self.0.read(&mut buffer[..length])
    }
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[A-Za-z0-9]{32}",
        2 => "[ -~]{1,40}",
        1 => "[\\[\\]<>{}()~^a-c]{1,12}",
        1 => "\\PC{4,20}",
    ]
}

/// A text with forms of the values planted in it, at any distance from each other.
fn planted() -> impl Strategy<Value = (Vec<String>, Vec<u8>)> {
    let plant = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        "[ -~\\n]{0,6}",
    );
    (
        prop::collection::vec(value(), 1..4),
        prop::collection::vec(plant, 0..12),
    )
        .prop_map(|(values, plants)| {
            let mut text = Vec::new();
            for (value, form, between) in plants {
                let value = value.get(&values);
                let mut forms: Vec<Vec<u8>> = forms::of(value.as_bytes())
                    .into_iter()
                    .map(|(_, form)| form)
                    .collect();
                forms.push(md5(value, ROLE).into());
                forms.push(verifier(value, 2, b"salt").into());
                forms.push(format!("[redacted {value}").into());
                text.extend(form.get(&forms));
                text.extend_from_slice(between.as_bytes());
            }
            (values, text)
        })
}

fn scanner_of(values: &[String]) -> Scanner {
    let credentials = values
        .iter()
        .enumerate()
        .map(|(index, value)| Credential::new(format!("c{index}"), value.as_str()))
        .collect();
    Scanner::new(credentials, &[ROLE.to_owned()]).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_found_does_not_depend_on_the_pieces(
        (values, text) in planted(), filler in 0_usize..3000, read in 1_usize..40, size in 1_usize..5000,
    ) {
        let scanner = scanner_of(&values);
        let text = [&text[..], &vec![b'.'; filler], &text].concat();
        let whole = {
            let mut facts = LeakFacts::default();
            scanner.search("a", &text[..], &mut facts);
            facts
        };
        for size in [1, size] {
            let mut facts = LeakFacts::default();
            scanner.search_by("a", Trickle(&text, read), &mut facts, size);
            prop_assert_eq!(&facts, &whole);
        }
        let (mut copy, mut pieces) = (Vec::new(), Vec::new());
        let finds = scanner.redact(&text[..], &mut copy).unwrap();
        prop_assert_eq!(scanner.redact_by(Trickle(&text, read), &mut pieces, size).unwrap(), finds);
        prop_assert!(copy == pieces);
    }

    #[test]
    fn what_is_planted_is_found(value in value(), before in "[ -~]{0,8}", after in "[ -~]{0,8}") {
        let scanner = scanner_of(std::slice::from_ref(&value));
        for (_, form) in forms::of(value.as_bytes()) {
            let text = [before.as_bytes(), &form, after.as_bytes()].concat();
            let mut facts = LeakFacts::default();
            scanner.search("a", &text[..], &mut facts);
            prop_assert!(facts.found_count > 0);
        }
    }

    #[test]
    fn nothing_is_left_after_redaction((values, text) in planted()) {
        let scanner = scanner_of(&values);
        let mut copy = Vec::new();
        let finds = scanner.redact(&text[..], &mut copy).unwrap();
        let mut facts = LeakFacts::default();
        scanner.search("a", &copy[..], &mut facts);
        prop_assert_eq!(facts.found, []);
        let verifiers: u64 = facts.shapes.iter().filter(|(name, _)| name.starts_with("SCRAM")).map(|(_, n)| n).sum();
        prop_assert_eq!(verifiers, 0);
        if finds == 0 {
            prop_assert!(copy == text);
        }
    }

    #[test]
    fn long_texts_are_searched_in_lanes(places in prop::collection::btree_set(0_usize..20_000, 0..20)) {
        let scanner = usual();
        let mut text = vec![b'Z'; 20_000 + PASSWORD.len()];
        let mut planted = 0;
        let mut free = 0;
        for place in places {
            if place >= free {
                text[place..place + PASSWORD.len()].copy_from_slice(PASSWORD.as_bytes());
                free = place + PASSWORD.len();
                planted += 1;
            }
        }
        for size in [512, 4096, 20_000, 100_000] {
            let mut facts = LeakFacts::default();
            scanner.search_by("a", &text[..], &mut facts, size);
            prop_assert_eq!(facts.found_count, planted);
        }
    }
}

#[test]
fn memory_is_bounded() {
    /// Counts what is asked for at once.
    struct Endless(u64, usize);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = self.1.max(buffer.len());
            let length = usize::try_from(self.0).unwrap().min(buffer.len());
            buffer[..length].fill(b'a');
            self.0 -= length as u64;
            Ok(length)
        }
    }
    // The one text that a marker never ends in.
    let scanner = scanner(&[("source", "aaaaaaaaaaaa")]);
    let mut text = Endless(4 << 20, 0);
    let mut copy = Vec::new();
    scanner.redact(&mut text, &mut copy).unwrap();
    assert_eq!(copy, b"[redacted source]");
    assert!(text.1 <= pieces::PIECE, "{}", text.1);
}
