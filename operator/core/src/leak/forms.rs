//! The forms in which a credential may stand in a text.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::digest::hex;

/// A form of this many characters is no accident; encodings that come out shorter are not looked
/// for.
const TELLING: usize = 8;

/// Every form of the value, each once, with its name. The value itself is the first.
pub(super) fn of(value: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = Forms(Vec::new());
    forms.add("raw", value);
    if let Ok(text) = str::from_utf8(value) {
        forms.add_spellings(text);
    }
    forms.add_percent(value);
    for offset in 0..3 {
        let standard = base64(value, offset);
        let url = standard.replace('+', "-").replace('/', "_");
        forms.add_encoded("base64", standard);
        forms.add_encoded("base64url", url);
    }
    let hex = hex(value);
    forms.add_encoded("hex", hex.to_ascii_uppercase());
    forms.add_encoded("hex", hex);
    forms.0
}

struct Forms(Vec<(&'static str, Vec<u8>)>);

impl Forms {
    fn add(&mut self, name: &'static str, form: &[u8]) {
        if !form.is_empty() && self.0.iter().all(|(_, known)| known != form) {
            self.0.push((name, form.to_owned()));
        }
    }

    fn add_encoded(&mut self, name: &'static str, form: String) {
        if form.len() >= TELLING {
            self.add(name, form.as_bytes());
        }
    }

    /// Adds the text as languages and files escape it, and JSON's escapes of these forms: the
    /// copy's log is JSON around SQL. Letters and digits are the same in all.
    fn add_spellings(&mut self, text: &str) {
        let spellings = [
            ("raw", text.to_owned()),
            ("sql", text.replace('\'', "''")),
            ("sql", text.replace('\\', r"\\").replace('\'', r"\'")),
            ("sql", text.replace('\\', r"\\").replace('\'', "''")),
            ("csv", text.replace('"', "\"\"")),
            ("pgpass", text.replace('\\', r"\\").replace(':', r"\:")),
            ("shell", text.replace('\'', r"'\''")),
            ("html", html(text, "&#39;", "&#34;")),
            ("html", html(text, "&#x27;", "&quot;")),
        ];
        for (name, spelling) in &spellings {
            self.add(name, spelling.as_bytes());
        }
        for (_, spelling) in &spellings {
            for once in json(spelling) {
                self.add("json", once.as_bytes());
                for twice in json(&once) {
                    self.add("json", twice.as_bytes());
                }
            }
        }
    }

    /// Encoders differ in what they leave as it is, in the case of their digits and in the space.
    fn add_percent(&mut self, value: &[u8]) {
        for kept in ["", "-._~", "-._~!'()*", "-._~!'()*;/?:@&=+$,#"] {
            for upper in [true, false] {
                for space in ["%20", "+"] {
                    let mut form = String::new();
                    for byte in value {
                        // Writing to a String cannot fail.
                        let _ = match byte {
                            b' ' => form.write_str(space),
                            _ if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(byte) => {
                                form.write_char(char::from(*byte))
                            }
                            _ if upper => write!(form, "%{byte:02X}"),
                            _ => write!(form, "%{byte:02x}"),
                        };
                    }
                    self.add("percent", form.as_bytes());
                }
            }
        }
    }
}

/// The characters that the value alone decides when it stands `offset` bytes behind a border of
/// three bytes in a longer encoded text.
fn base64(value: &[u8], offset: usize) -> String {
    let mut text = vec![0; offset];
    text.extend_from_slice(value);
    let (first, last) = ((offset * 8).div_ceil(6), text.len() * 8 / 6);
    text.extend_from_slice(&[0; 3]);
    let encoded = STANDARD.encode(text);
    encoded.get(first..last).unwrap_or_default().to_owned()
}

fn html(text: &str, apostrophe: &str, quote: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', apostrophe)
        .replace('"', quote)
}

/// The inside of a JSON string as the usual writers have it: plain, Go's, PHP's, and those that
/// write ASCII alone.
fn json(text: &str) -> [String; 5] {
    let quoted = serde_json::Value::from(text).to_string();
    let plain = quoted[1..quoted.len() - 1].to_owned();
    let go = plain
        .replace('<', r"\u003c")
        .replace('>', r"\u003e")
        .replace('&', r"\u0026");
    let slashes = plain.replace('/', r"\/");
    let [ascii, php] = [&plain, &slashes].map(|text| ascii(text));
    [plain, go, slashes, ascii, php]
}

fn ascii(text: &str) -> String {
    let mut written = String::new();
    for character in text.chars() {
        if character.is_ascii() {
            written.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(written, r"\u{unit:04x}");
            }
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn has(value: &str, form: &str) -> bool {
        of(value.as_bytes())
            .iter()
            .any(|(_, known)| known == form.as_bytes())
    }

    #[test]
    fn letters_and_digits_have_few_forms() {
        let forms = of(b"Zk4mQ9xT2bV7nL8pR3wY6cJ1hG5sDfA0");
        let names: Vec<_> = forms.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            ["raw", "base64", "base64", "base64", "hex", "hex"],
            "base64 of letters and digits is the same in both alphabets"
        );
    }

    #[test]
    fn other_characters_are_spelled_in_many_ways() {
        let value = "a'b\"c\\d e/f<ü:";
        for form in [
            "a''b\"c\\d e/f<ü:",
            r#"a\'b"c\\d e/f<ü:"#,
            r#"a''b\"c\\d e/f<ü:"#,
            r#"a'b\"c\\d e/f\u003cü:"#,
            r#"a'b\"c\\d e\/f<\u00fc:"#,
            r#"a'b\\\"c\\\\d e/f<ü:"#,
            "a%27b%22c%5Cd%20e%2Ff%3C%C3%BC%3A",
            "a%27b%22c%5cd+e%2ff%3c%c3%bc%3a",
            "a&#39;b&#34;c\\d e/f&lt;ü:",
            r#"a'b"c\\d e/f<ü\:"#,
        ] {
            assert!(has(value, form), "{form}");
        }
    }

    #[test]
    fn short_values_are_looked_for_as_they_are() {
        assert_eq!(of(b"abc").len(), 1);
        assert!(of(b"abc").iter().all(|(name, _)| *name == "raw"));
        assert!(of(b"").is_empty());
    }

    proptest! {
        #[test]
        fn base64_of_a_text_around_the_value_holds_a_form(
            before in prop::collection::vec(any::<u8>(), 0..9),
            value in prop::collection::vec(any::<u8>(), 8..40),
            after in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            let text = [before, value.clone(), after].concat();
            let encoded = STANDARD.encode(&text);
            let url = encoded.replace('+', "-").replace('/', "_");
            let forms = of(&value);
            for encoded in [encoded, url] {
                let found = forms.iter().any(|(name, form)| {
                    name.starts_with("base64") && encoded.as_bytes().windows(form.len()).any(|part| part == form)
                });
                prop_assert!(found, "{}", encoded);
            }
        }
    }
}
