//! Rows of the privilege catalog and their text form.

use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

use super::class::{OWNER, RowClass};
use crate::{
    digest,
    postgres::row_set,
    run::facts::{PrivilegeRow, SetSummary},
};

/// The grantee for PUBLIC.
pub const PUBLIC: &str = "public";

/// Every privilege of a database: the rows of `privileges.sql` and `attributes.sql`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The rows.
    pub rows: BTreeSet<PrivilegeRow>,
    /// Roles other than the object's owner that granted a row: only they can revoke it.
    pub grantors: BTreeMap<PrivilegeRow, BTreeSet<String>>,
}

impl Reading {
    /// Adds a row and its last column.
    pub fn insert(&mut self, row: PrivilegeRow, grantors: Option<Vec<String>>) {
        if let Some(grantors) = grantors {
            self.grantors
                .entry(row.clone())
                .or_default()
                .extend(grantors);
        }
        self.rows.insert(row);
    }
}

/// A row as a tab-separated line without its line break, fields escaped as in Postgres' COPY
/// format.
pub fn line(row: &PrivilegeRow) -> String {
    let grantable = row.grantable.to_string();
    [
        &row.class,
        &row.object,
        &row.grantee,
        &row.privilege,
        &grantable,
        &row.sign,
    ]
    .map(|field| row_set::escape(field))
    .join("\t")
}

/// Reads what [`line`] wrote; `None` when it is no row.
pub fn parse(line: &str) -> Option<PrivilegeRow> {
    let fields: Vec<String> = line
        .split('\t')
        .map(row_set::unescape)
        .collect::<Option<_>>()?;
    let [class, object, grantee, privilege, grantable, sign] =
        <[String; 6]>::try_from(fields).ok()?;
    let grantable = grantable.parse().ok()?;
    matches!(sign.as_str(), "+" | "-").then_some(PrivilegeRow {
        class,
        object,
        grantee,
        privilege,
        grantable,
        sign,
    })
}

/// Size of a set of rows and the digest over its sorted lines.
pub fn summary<'a>(rows: impl IntoIterator<Item = &'a PrivilegeRow>) -> SetSummary {
    let mut digest = Sha256::new();
    let sorted: BTreeSet<&PrivilegeRow> = rows.into_iter().collect();
    for row in &sorted {
        digest.update(line(row));
        digest.update("\n");
    }
    SetSummary {
        rows: sorted.len() as u64,
        digest: digest::prefixed(&digest.finalize()),
    }
}

/// A row that is there.
pub(super) fn granted(
    class: &str,
    object: &str,
    grantee: &str,
    privilege: &str,
    grantable: bool,
) -> PrivilegeRow {
    PrivilegeRow {
        class: class.to_owned(),
        object: object.to_owned(),
        grantee: grantee.to_owned(),
        privilege: privilege.to_owned(),
        grantable,
        sign: "+".to_owned(),
    }
}

/// Returns true if a row gives something; if not, it tells that a part of an object's initial
/// privileges was taken away.
pub(super) fn gives(row: &PrivilegeRow) -> bool {
    row.sign != "-"
}

/// A row in words: `SELECT on table:public.t to app`, `OWNER on table:public.t to app`.
pub fn described(row: &PrivilegeRow) -> String {
    let PrivilegeRow {
        class,
        object,
        grantee,
        privilege,
        ..
    } = row;
    let class = class.strip_prefix(OWNER).unwrap_or(class);
    let given = if gives(row) { "" } else { "no " };
    format!("{given}{privilege} on {class}:{object} to {grantee}")
}

/// Returns true for a row of a definition that stands in the catalog, too: objects of the built-in
/// schemas do not.
pub fn is_definition(row: &PrivilegeRow) -> bool {
    RowClass::parse(&row.class) == RowClass::Definition
        && row.object.contains('.')
        && !row.object.starts_with("information_schema.")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Any row, of few names so that sets of them overlap.
    pub(in crate::postgres::matrix) fn any_row() -> impl Strategy<Value = PrivilegeRow> {
        (
            prop::sample::select(vec![
                "table",
                "column",
                "schema",
                "role_attr",
                "membership",
                "setting",
                "default_acl",
                "owner_table",
                "rls",
                "secdef",
            ]),
            prop::sample::select(vec!["iu.unit", "iu.unit.state", "a", "b", "a/*/TABLES"]),
            prop::sample::select(vec!["a", "b", "other", PUBLIC, "own"]),
            prop::sample::select(vec![
                "SELECT",
                "INSERT",
                "MEMBER INHERIT=true SET=true",
                "MEMBER INHERIT=false SET=false",
            ]),
            any::<bool>(),
            prop::sample::select(vec!["+", "-"]),
        )
            .prop_map(|(class, object, grantee, privilege, grantable, sign)| {
                PrivilegeRow {
                    sign: sign.to_owned(),
                    ..granted(class, object, grantee, privilege, grantable)
                }
            })
    }

    #[test]
    fn a_line_that_is_no_row() {
        for text in [
            "",
            "a\tb\tc\td\ttrue",
            "a\tb\tc\td\tyes\t+",
            "a\tb\tc\td\ttrue\t*",
            "a\tb\tc\td\ttrue\t+\t",
            "a\\x\tb\tc\td\ttrue\t+",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_row_survives_its_text_form(class: String, object: String, grantee: String, privilege: String, grantable: bool) {
            let row = granted(&class, &object, &grantee, &privilege, grantable);
            let line = line(&row);
            prop_assert!(!line.contains(['\n', '\r']));
            prop_assert_eq!(parse(&line), Some(row));
        }

        #[test]
        fn a_summary_knows_no_order(mut rows in prop::collection::vec(any_row(), 0..20)) {
            let first = summary(&rows);
            rows.reverse();
            prop_assert_eq!(summary(&rows), first);
        }
    }
}
