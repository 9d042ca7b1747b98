//! Code shared by statements about privileges.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::class::{ObjectClass, RowClass};
use super::name::{self, ObjectName};
use super::row::PUBLIC;
use crate::postgres::sql::identifier;
use crate::run::facts::PrivilegeRow;

/// One SQL statement. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Statement(String);

impl Statement {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Statement {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// Privileges on objects of one kind that one statement can grant or revoke, each part as it stands
/// in the statement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bundle {
    pub(super) kind: &'static str,
    pub(super) grantee: String,
    pub(super) grantable: bool,
    pub(super) privileges: String,
    pub(super) objects: String,
}

/// The privileges of one grantee on one object: the columns of each, none for the object as a
/// whole.
type OnObject<'a> = BTreeMap<(&'a str, bool), BTreeSet<String>>;

/// Bundles the rows of objects and columns; other rows are none.
pub(super) fn bundles<'a>(rows: impl IntoIterator<Item = &'a PrivilegeRow>) -> Vec<Bundle> {
    let mut by_object: BTreeMap<(&str, bool, &str, String), OnObject<'_>> = BTreeMap::new();
    for row in rows {
        let Some((class, object, column)) = target(row) else {
            continue;
        };
        let Some(privilege) = words(&row.privilege) else {
            continue;
        };
        let key = (
            class.keyword(),
            row.grantable,
            row.grantee.as_str(),
            object.to_sql(class),
        );
        by_object
            .entry(key)
            .or_default()
            .entry((privilege, column.is_some()))
            .or_default()
            .extend(column.as_deref().map(identifier));
    }
    let mut objects: BTreeMap<(&'static str, &str, bool, String), Vec<String>> = BTreeMap::new();
    for ((kind, grantable, grantee, object), privileges) in by_object {
        let privileges: Vec<String> = privileges
            .into_iter()
            .map(|((privilege, _), columns)| match columns.is_empty() {
                true => privilege.to_owned(),
                false => format!(
                    "{privilege} ({})",
                    columns.into_iter().collect::<Vec<_>>().join(", ")
                ),
            })
            .collect();
        objects
            .entry((kind, grantee, grantable, privileges.join(", ")))
            .or_default()
            .push(object);
    }
    objects
        .into_iter()
        .map(|((kind, role, grantable, privileges), objects)| Bundle {
            kind,
            grantee: grantee(role),
            grantable,
            privileges,
            objects: objects.join(", "),
        })
        .collect()
}

/// The object that a row of an object or a column is about, and the column.
fn target(row: &PrivilegeRow) -> Option<(ObjectClass, ObjectName, Option<String>)> {
    match RowClass::parse(&row.class) {
        RowClass::Object(class) => Some((class, ObjectName::parse(class, &row.object)?, None)),
        RowClass::Column => name::column(&row.object)
            .map(|(relation, column)| (ObjectClass::Table, relation, Some(column))),
        RowClass::Attribute
        | RowClass::Membership
        | RowClass::Setting
        | RowClass::DefaultAcl
        | RowClass::Owner
        | RowClass::UserMapping
        | RowClass::Definition => None,
    }
}

/// The grantee of a statement.
pub(super) fn grantee(role: &str) -> String {
    if role == PUBLIC {
        PUBLIC.to_owned()
    } else {
        identifier(role)
    }
}

/// Words of SQL that a row holds, such as a privilege; nothing else passes unquoted.
pub(super) fn words(text: &str) -> Option<&str> {
    text.chars()
        .all(|character| character.is_ascii_uppercase() || character == ' ')
        .then_some(text)
}

/// A parameter's name in a statement, from the setting `name=value`, with the value.
pub(super) fn setting(text: &str) -> Option<(String, &str, &str)> {
    let (name, value) = text.split_once('=')?;
    Some((
        name.split('.')
            .map(identifier)
            .collect::<Vec<_>>()
            .join("."),
        name,
        value,
    ))
}
