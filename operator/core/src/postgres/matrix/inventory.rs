//! Objects of a database that a matrix may name.

use std::collections::{BTreeMap, BTreeSet};

use super::class::{COLUMN, ObjectClass};
use super::literal::Literal;
use super::name::{self, ObjectName};
use super::selector::Selector;
use crate::api::Privileges;

/// An object that a matrix may name: a row of the query `objects.sql`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogObject {
    /// Class of the object.
    pub class: String,
    /// Its name, as rows of the privilege catalog have it.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// PUBLIC's initial privileges on an object of initdb or of an extension.
    pub initial: Option<Vec<String>>,
}

/// The objects, roles and parameters of a database, and the version of its server.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    pub(super) server_version_num: u32,
    pub(super) roles: BTreeSet<String>,
    objects: BTreeMap<ObjectClass, BTreeMap<ObjectName, CatalogObject>>,
    /// The row form of the wanted columns, by relation and name.
    columns: BTreeMap<ObjectName, BTreeMap<String, String>>,
    /// The server's spelling of parameters by their name in lower case.
    parameters: BTreeMap<String, String>,
}

impl Inventory {
    /// Names of the columns that grants, profiles and the list of rows name: the parameter of
    /// `objects.sql`.
    pub fn columns_wanted(privileges: &Privileges, literal: Option<&Literal>) -> Vec<String> {
        let grants = privileges.grants.iter().map(|grant| &grant.columns);
        let profiles = privileges
            .profiles
            .values()
            .flat_map(|profile| &profile.grants)
            .map(|grant| &grant.columns);
        let columns: BTreeSet<String> = grants
            .chain(profiles)
            .flat_map(|columns| columns.values().flatten().cloned())
            .chain(literal.into_iter().flat_map(Literal::columns))
            .collect();
        columns.into_iter().collect()
    }

    /// Orders the rows of `objects.sql`; the version is its `server_version_num`.
    pub fn new(server_version_num: u32, objects: impl IntoIterator<Item = CatalogObject>) -> Self {
        let mut inventory = Self {
            server_version_num,
            ..Self::default()
        };
        for object in objects {
            inventory.insert(object);
        }
        inventory
    }

    fn insert(&mut self, object: CatalogObject) {
        match object.class.as_str() {
            "role" => {
                self.roles.insert(object.name);
            }
            COLUMN => {
                if let Some((relation, column)) = name::column(&object.name) {
                    self.columns
                        .entry(relation)
                        .or_default()
                        .insert(column, object.name);
                }
            }
            class => {
                let Some(class) = ObjectClass::parse(class) else {
                    return;
                };
                let Some(name) = ObjectName::parse(class, &object.name) else {
                    return;
                };
                if class == ObjectClass::Parameter {
                    self.parameters
                        .insert(name.name.clone(), object.name.clone());
                }
                self.objects.entry(class).or_default().insert(name, object);
            }
        }
    }

    /// The objects that a selector selects.
    pub(super) fn select<'a>(
        &'a self,
        selector: &'a Selector,
    ) -> impl Iterator<Item = (&'a ObjectName, &'a CatalogObject)> {
        let schema = &selector.name.schema;
        let first = ObjectName {
            schema: schema.clone(),
            ..ObjectName::default()
        };
        self.objects
            .get(&selector.class)
            .into_iter()
            .flat_map(move |objects| objects.range(first.clone()..))
            .take_while(move |(name, _)| name.schema == *schema)
            .filter(move |(name, _)| selector.selects(name))
    }

    /// The object of this name.
    pub(super) fn object(&self, class: ObjectClass, name: &ObjectName) -> Option<&CatalogObject> {
        self.objects.get(&class)?.get(name)
    }

    /// Routines of the same name with other arguments, as rows have them.
    pub(super) fn namesakes<'a>(&'a self, selector: &'a Selector) -> impl Iterator<Item = &'a str> {
        let named = move |name: &ObjectName| {
            name.schema == selector.name.schema && name.name == selector.name.name
        };
        self.objects
            .get(&selector.class)
            .into_iter()
            .flatten()
            .filter(move |(name, _)| named(name))
            .map(|(_, object)| object.name.as_str())
    }

    /// The row form of a column.
    pub(super) fn column(&self, relation: &ObjectName, column: &str) -> Option<&str> {
        self.columns.get(relation)?.get(column).map(String::as_str)
    }

    /// Returns the server's spelling of a parameter. Parameters of extensions, which have a dot,
    /// need not be loaded.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let spelling = self.parameters.get(&name.to_ascii_lowercase()).cloned();
        spelling.or_else(|| is_custom_parameter(name).then(|| name.to_owned()))
    }
}

/// Returns true if an extension may give this name to one of its parameters.
pub(super) fn is_custom_parameter(name: &str) -> bool {
    let word = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part.chars().all(|character| {
                character.is_ascii_alphanumeric() || matches!(character, '_' | '$')
            })
    };
    name.contains('.') && name.split('.').all(word)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An inventory of objects that `owner` owns, written as `class:name`.
    pub(in crate::postgres::matrix) fn inventory(
        server_version_num: u32,
        objects: &[&str],
    ) -> Inventory {
        let objects = objects
            .iter()
            .filter_map(|object| object.split_once(':'))
            .map(|(class, name)| CatalogObject {
                class: class.into(),
                name: name.into(),
                owner: "owner".into(),
                initial: None,
            });
        Inventory::new(server_version_num, objects)
    }

    #[test]
    fn parameters_are_spelled_as_the_server_does() {
        let inventory = inventory(150_000, &["parameter:TimeZone", "parameter:work_mem"]);
        assert_eq!(inventory.parameter("timezone").as_deref(), Some("TimeZone"));
        assert_eq!(
            inventory.parameter("app.tenant").as_deref(),
            Some("app.tenant")
        );
        assert_eq!(inventory.parameter("wrok_mem"), None);
        assert_eq!(inventory.parameter("app.tenant; x"), None);
    }
}
