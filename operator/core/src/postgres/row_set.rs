//! Large sets of rows, such as a catalog or row counts, kept as sorted lines and compared as sets.
//!
//! A row is an identity and a value. The text form has a row per line, its fields separated by tabs
//! and escaped as in Postgres' COPY format, the value last; it is what stands in the side files of
//! a dump, and what the digests are taken over.

use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

use crate::digest;
use crate::run::facts::{SetDifference, SetSummary};

/// Maximum number of examples in a difference.
const EXAMPLES: usize = 3;
/// Kinds of catalog rows whose definition Postgres prints from a parsed expression, and so maybe
/// differently after a restore: an IN list becomes another expression. Nothing else of an object
/// stands in them.
const PRINTED: [&str; 9] = [
    "constraint",
    "default",
    "index",
    "policy",
    "routine body",
    "rule",
    "statistics",
    "trigger",
    "view",
];
/// Kinds of catalog rows that no dump carries.
const UNDUMPED: [&str; 4] = [
    "invalid index",
    "publication",
    "subscription",
    "undumped comment",
];

/// A set of rows. Two rows may have one identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows(BTreeSet<Row>);

/// A row, its fields escaped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    /// Fields of the identity, separated by tabs.
    identity: String,
    value: String,
}

impl Rows {
    /// Adds a row.
    pub fn insert(&mut self, identity: &[&str], value: &str) {
        let identity = identity
            .iter()
            .map(|field| escape(field))
            .collect::<Vec<_>>()
            .join("\t");
        self.0.insert(Row {
            identity,
            value: escape(value),
        });
    }

    /// Reads the text form; `None` when a line has no tab.
    pub fn parse(text: &str) -> Option<Self> {
        text.lines()
            .map(|line| {
                let (identity, value) = line.rsplit_once('\t')?;
                Some(Row {
                    identity: identity.to_owned(),
                    value: value.to_owned(),
                })
            })
            .collect::<Option<_>>()
            .map(Self)
    }

    /// The text form.
    pub fn to_text(&self) -> String {
        self.0
            .iter()
            .map(|row| format!("{}\t{}\n", row.identity, row.value))
            .collect()
    }

    /// Size and digest.
    pub fn summary(&self) -> SetSummary {
        let mut digest = Sha256::new();
        for row in &self.0 {
            for part in [row.identity.as_str(), "\t", row.value.as_str(), "\n"] {
                digest.update(part);
            }
        }
        SetSummary {
            rows: self.0.len() as u64,
            digest: digest::prefixed(&digest.finalize()),
        }
    }

    /// The values, escaped, with the identity they belong to.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|row| (row.identity.as_str(), row.value.as_str()))
    }

    /// The rows of a catalog that a dump carries.
    #[must_use]
    pub fn dumped(mut self) -> Self {
        self.0
            .retain(|row| !UNDUMPED.contains(&kind(&row.identity)));
        self
    }

    /// Identities whose rows differ between `self` and `other`.
    ///
    /// `restored`, if given, has rows that a restore of the same definitions gives: an identity of
    /// a kind that is printed from an expression does not count if its rows are the same there as
    /// in `self`, as long as `other` has the identity too.
    pub fn differing<'a>(&'a self, other: &'a Self, restored: Option<&Self>) -> BTreeSet<&'a str> {
        let (mine, theirs) = (self.by_identity(), other.by_identity());
        let restored = restored.map(Self::by_identity).unwrap_or_default();
        mine.keys()
            .chain(theirs.keys())
            .filter(
                |identity| match (mine.get(*identity), theirs.get(*identity)) {
                    (Some(my_values), Some(their_values)) => {
                        my_values != their_values
                            && !(PRINTED.contains(&kind(identity))
                                && restored.get(*identity) == Some(my_values))
                    }
                    (mine, theirs) => mine != theirs,
                },
            )
            .copied()
            .collect()
    }

    /// As [`Rows::differing`], in the form of a fact: how many, and three examples.
    pub fn difference(&self, other: &Self, restored: Option<&Self>) -> SetDifference {
        difference(&self.differing(other, restored))
    }

    /// The extensions of a catalog: name, version and schema, both names quoted.
    pub fn extensions(&self) -> impl Iterator<Item = (String, String, String)> {
        self.iter().filter_map(|(identity, definition)| {
            let name = unescape(identity.strip_prefix("extension\t")?)?;
            let definition = unescape(definition)?;
            let (version, schema) = definition.split_once("\nschema ")?;
            Some((name, version.to_owned(), schema.to_owned()))
        })
    }

    pub(super) fn by_identity(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut map: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (identity, value) in self.iter() {
            map.entry(identity).or_default().push(value);
        }
        map
    }
}

/// Differing identities in the form of a fact: how many, and three examples.
pub fn difference(differing: &BTreeSet<&str>) -> SetDifference {
    SetDifference {
        rows: differing.len() as u64,
        examples: differing
            .iter()
            .take(EXAMPLES)
            .map(|identity| identity.replace('\t', " "))
            .collect(),
    }
}

/// The kind of a catalog row: the first field of its identity.
fn kind(identity: &str) -> &str {
    identity.split('\t').next().unwrap_or_default()
}

/// COPY's escapes: a field holds neither tab nor line break.
pub(crate) fn escape(field: &str) -> String {
    let mut escaped = String::with_capacity(field.len());
    for character in field.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '\t' => escaped.push_str("\\t"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Undoes [`escape`]; `None` for an escape that it does not write.
pub(super) fn unescape(field: &str) -> Option<String> {
    let mut text = String::with_capacity(field.len());
    let mut characters = field.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '\\' => match characters.next()? {
                '\\' => '\\',
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            other => other,
        });
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(of: &[(&str, &str)]) -> Rows {
        of_kind("table", of)
    }

    fn of_kind(kind: &str, of: &[(&str, &str)]) -> Rows {
        let mut rows = Rows::default();
        for (identity, value) in of {
            rows.insert(&[kind, identity], value);
        }
        rows
    }

    #[test]
    fn a_difference_names_changed_missing_and_new_rows() {
        let source = rows(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let copy = rows(&[("a", "1"), ("b", "9"), ("d", "4")]);
        let difference = copy.difference(&source, None);
        assert_eq!(
            (difference.rows, difference.examples),
            (
                3,
                vec!["table b".into(), "table c".into(), "table d".into()]
            )
        );
        assert_eq!(copy.difference(&copy, None), SetDifference::default());
    }

    #[test]
    fn an_expression_that_every_restore_prints_differently_is_no_difference() {
        let rows = |of| of_kind("view", of);
        let source = rows(&[("a", "1"), ("b", "2"), ("lost", "5")]);
        let copy = rows(&[("a", "other"), ("b", "changed"), ("new", "6")]);
        let restored = rows(&[("a", "other"), ("b", "2"), ("new", "6")]);
        assert_eq!(
            copy.difference(&source, Some(&restored)).examples,
            ["view b", "view lost", "view new"]
        );
    }

    /// Every restore gives an extension the image's version, and loses what a tolerated error has
    /// lost.
    #[test]
    fn what_every_restore_gets_wrong_is_excused_of_expressions_alone() {
        for (kind, differing) in [
            ("extension", 1),
            ("relation", 1),
            ("option", 1),
            ("view", 0),
        ] {
            let (source, copy) = (
                of_kind(kind, &[("x", "1.4")]),
                of_kind(kind, &[("x", "1.8")]),
            );
            assert_eq!(
                copy.difference(&source, Some(&copy)).rows,
                differing,
                "{kind}"
            );
        }
    }

    #[test]
    fn what_no_dump_carries_is_left_out() {
        let mut source = of_kind("publication", &[("p", "all")]);
        source.insert(&["invalid index", "public.left_over"], "");
        source.insert(&["index", "public.left_over"], "");
        assert_eq!(
            source.dumped(),
            of_kind("index", &[("public.left_over", "")])
        );
    }

    #[test]
    fn two_rows_of_one_identity_are_both_kept() {
        let twice = rows(&[("a", "1"), ("a", "2")]);
        assert_eq!(twice.summary().rows, 2);
        assert_eq!(twice.difference(&rows(&[("a", "1")]), None).rows, 1);
    }

    #[test]
    fn a_line_without_a_tab_is_no_row() {
        assert_eq!(Rows::parse("nothing\n"), None);
        assert_eq!(Rows::parse(""), Some(Rows::default()));
    }

    proptest! {
        #[test]
        fn the_text_form_loses_nothing_and_ignores_order(mut list in prop::collection::vec((".{0,12}", ".{0,6}"), 0..12)) {
            let build = |list: &[(String, String)]| {
                let mut rows = Rows::default();
                list.iter().for_each(|(identity, value)| rows.insert(&["kind", identity], value));
                rows
            };
            let rows = build(&list);
            prop_assert_eq!(Rows::parse(&rows.to_text()), Some(rows.clone()));
            list.reverse();
            prop_assert_eq!(build(&list).summary(), rows.summary());
        }
    }
}
