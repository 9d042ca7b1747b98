//! Statements in a text of SQL, by their keywords. Strings, quoted names, dollar quotes, comments,
//! and what lies in parentheses or in the body of an SQL-standard function may hold semicolons that
//! end nothing.
//!
//! Lexical rules: <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>;
//! `standard_conforming_strings` is on.

/// Words between a statement's verb and the kind of its object.
const FILLERS: [&str; 9] = [
    "OR",
    "REPLACE",
    "UNIQUE",
    "TEMP",
    "TEMPORARY",
    "UNLOGGED",
    "MATERIALIZED",
    "CONSTRAINT",
    "TRUSTED",
];

/// The class of each statement; empty for one that does not begin with a word.
pub(super) fn classes(text: &str) -> Vec<String> {
    let mut classes = Vec::new();
    let mut statement = Statement::default();
    let mut rest = text;
    while let Some((token, after)) = next(rest) {
        if token == Token::End && statement.is_whole() {
            classes.extend(std::mem::take(&mut statement).class());
        } else {
            statement.push(token);
        }
        rest = after;
    }
    classes.extend(statement.class());
    classes
}

/// Tokens of a text, as far as classes need them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A keyword or an unquoted name, in upper case.
    Word(String),
    /// A semicolon.
    End,
    /// An opening parenthesis.
    Open,
    /// A closing one.
    Close,
    /// A string, a quoted name, a number, an operator.
    Other,
}

/// A statement on its way.
#[derive(Debug, Default)]
struct Statement {
    /// The first tokens; more are not needed.
    head: Vec<Token>,
    parentheses: u32,
    /// Depth of BEGIN ATOMIC … END and CASE … END in the body of a function.
    body: u32,
}

impl Statement {
    /// Tokens that are kept: more than there are fillers before the kind of an object.
    const HEAD: usize = 8;

    /// Returns true if a semicolon ends it here.
    fn is_whole(&self) -> bool {
        self.parentheses == 0 && self.body == 0
    }

    fn push(&mut self, token: Token) {
        match &token {
            Token::Open => self.parentheses += 1,
            Token::Close => self.parentheses = self.parentheses.saturating_sub(1),
            Token::Word(word) => match word.as_str() {
                "ATOMIC" if self.may_have_a_body() => self.body += 1,
                "CASE" if self.body > 0 => self.body += 1,
                "END" => self.body = self.body.saturating_sub(1),
                _ => {}
            },
            Token::End | Token::Other => {}
        }
        if self.head.len() < Self::HEAD {
            self.head.push(token);
        }
    }

    /// Returns true if it creates an object that may have a body of statements.
    fn may_have_a_body(&self) -> bool {
        matches!(
            self.class().as_deref(),
            Some("CREATE FUNCTION" | "CREATE PROCEDURE")
        )
    }

    /// Its class; nothing when it has no token.
    fn class(&self) -> Option<String> {
        let mut tokens = self.head.iter();
        let Token::Word(verb) = tokens.next()? else {
            return Some(String::new());
        };
        if !["CREATE", "ALTER", "DROP"].contains(&verb.as_str()) {
            return Some(verb.clone());
        }
        let filler =
            |token: &Token| matches!(token, Token::Word(word) if FILLERS.contains(&word.as_str()));
        Some(match tokens.find(|token| !filler(token)) {
            Some(Token::Word(kind)) => format!("{verb} {kind}"),
            _ => verb.clone(),
        })
    }
}

/// The next token and what follows it. Space and comments are none.
fn next(text: &str) -> Option<(Token, &str)> {
    let mut text = text.trim_start();
    loop {
        let after = if text.starts_with("--") {
            text.split_once('\n').map_or("", |(_, after)| after)
        } else if text.starts_with("/*") {
            after_comment(text)
        } else {
            break;
        };
        text = after.trim_start();
    }
    let first = text.chars().next()?;
    let tail = &text[first.len_utf8()..];
    Some(match first {
        ';' => (Token::End, tail),
        '(' => (Token::Open, tail),
        ')' => (Token::Close, tail),
        '\'' | '"' => (Token::Other, after_quote(tail, first, false)),
        '$' => (Token::Other, after_dollars(text).unwrap_or(tail)),
        c if c.is_alphabetic() || c == '_' => word(text),
        _ => (Token::Other, tail),
    })
}

/// A keyword, a name, or a string with a letter before it: `E'…'` alone has backslashes that
/// escape.
fn word(text: &str) -> (Token, &str) {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'));
    let (word, after) = text.split_at(end.unwrap_or(text.len()));
    match after.strip_prefix('\'') {
        Some(after) if word.len() == 1 => {
            let escapes = word.eq_ignore_ascii_case("e");
            (Token::Other, after_quote(after, '\'', escapes))
        }
        _ if word.chars().all(|c| c.is_ascii_alphabetic()) => {
            (Token::Word(word.to_ascii_uppercase()), after)
        }
        _ => (Token::Other, after),
    }
}

/// Returns the text after a comment, which may be nested.
fn after_comment(text: &str) -> &str {
    let mut depth = 0_u32;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("/*") {
            depth += 1;
            rest = after;
        } else if let Some(after) = rest.strip_prefix("*/") {
            depth = depth.saturating_sub(1);
            rest = after;
            if depth == 0 {
                break;
            }
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    rest
}

/// Returns the text after a quoted text. A doubled quote stands for itself.
fn after_quote(text: &str, quote: char, escapes: bool) -> &str {
    let mut rest = text;
    while let Some(at) = rest.find(|c| c == quote || (escapes && c == '\\')) {
        let (found, after) = (rest[at..].chars().next(), &rest[at + 1..]);
        rest = match after.chars().next() {
            Some(escaped) if found == Some('\\') || escaped == quote => {
                &after[escaped.len_utf8()..]
            }
            _ => return after,
        };
    }
    ""
}

/// Returns the text after `$tag$ … $tag$`; nothing if it is none, but a parameter.
fn after_dollars(text: &str) -> Option<&str> {
    let (tag, _) = text.strip_prefix('$')?.split_once('$')?;
    let named = tag.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !named || tag.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (quote, body) = text.split_at(tag.len() + 2);
    Some(body.split_once(quote).map_or("", |(_, after)| after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_semicolon_ends_a_statement_only_where_it_stands_for_itself() {
        for (text, expected) in [
            ("GRANT a TO b; REVOKE a FROM b;", vec!["GRANT", "REVOKE"]),
            (
                "COMMENT ON TABLE t IS 'it''s; GRANT'; SET x = 1",
                vec!["COMMENT", "SET"],
            ),
            (
                r"COMMENT ON TABLE t IS 'a\'; SET x = 1",
                vec!["COMMENT", "SET"],
            ),
            (
                r"COMMENT ON TABLE t IS E'a\'; GRANT'; SET x = 1",
                vec!["COMMENT", "SET"],
            ),
            (
                r"COMMENT ON TABLE t IS E'''\'; GRANT'; SET x = 1",
                vec!["COMMENT", "SET"],
            ),
            (
                r"COMMENT ON TABLE t IS E'a\\'; SET x = 1",
                vec!["COMMENT", "SET"],
            ),
            (
                r#"ALTER TABLE "a;""GRANT" OWNER TO b; SET x = 1"#,
                vec!["ALTER TABLE", "SET"],
            ),
            ("DO $$ BEGIN; END $$; SET x = 1", vec!["DO", "SET"]),
            (
                "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $_$ SELECT '$$;' || $1; $_$; SET x = 1",
                vec!["CREATE FUNCTION", "SET"],
            ),
            ("SELECT $1; GRANT a TO b", vec!["SELECT", "GRANT"]),
            ("SELECT a$b$c; GRANT a TO b", vec!["SELECT", "GRANT"]),
            ("-- one; GRANT\nSET x = 1; -- two", vec!["SET"]),
            (
                "/* one; /* GRANT; */ two; */ SET x = 1; /* open",
                vec!["SET"],
            ),
            (
                "CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b); SET x = 1",
                vec!["CREATE RULE", "SET"],
            ),
            (
                "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql\nBEGIN ATOMIC\n SELECT (CASE WHEN true THEN 1 END);\n SELECT 2;\nEND; GRANT a TO b",
                vec!["CREATE FUNCTION", "GRANT"],
            ),
            (
                "BEGIN; SET x = 1; END; GRANT a TO b",
                vec!["BEGIN", "SET", "END", "GRANT"],
            ),
            (r#""odd" x; 'odd'; 1"#, vec!["", "", ""]),
            ("COMMENT ON TABLE t IS 'open; GRANT a TO b", vec!["COMMENT"]),
            (
                "COMMENT ON TABLE t IS 'ä'; COMMENT ON TABLE ö IS '';",
                vec!["COMMENT", "COMMENT"],
            ),
            ("", vec![]),
        ] {
            assert_eq!(classes(text), expected, "{text}");
        }
        assert!(classes(" ; ;; ").iter().all(String::is_empty));
    }
}
