//! Grants and ownership of a matrix, expanded over the objects that there are.

use std::collections::BTreeSet;

use super::class::{COLUMN, OWNER, ObjectClass};
use super::expected::Compiler;
use super::inventory::{CatalogObject, Inventory};
use super::literal::MAX_ROWS;
use super::name::ObjectName;
use super::row::{PUBLIC, granted};
use super::selector::Selector;
use crate::api::{Grant, Privilege};
use crate::run::facts::PrivilegeRow;

/// First version with the privilege MAINTAIN.
pub(super) const MAINTAIN: u32 = 170_000;

impl Compiler<'_> {
    /// Expands one grant, which stands in the spec at `at`.
    pub(super) fn grant(&mut self, at: &str, grant: &Grant) {
        let mut expansion = Expansion::default();
        if !self.is_grantee(&grant.to) {
            expansion
                .errors
                .push(format!("{} is not a declared role", grant.to));
        }
        expansion.expand(self.inventory, grant);
        let rows = expansion.size();
        if self.matrix.rows.len() as u64 + rows > MAX_ROWS {
            expansion.rows.clear();
            let error = format!("with it the matrix has more than {MAX_ROWS} rows");
            expansion.errors.push(error);
        }
        if let Some(expected) = grant.expect_rows
            && rows != u64::from(expected)
            && expansion.errors.is_empty()
        {
            expansion
                .errors
                .push(format!("it gives {rows} rows, expectRows is {expected}"));
        }
        let errors = expansion
            .errors
            .into_iter()
            .map(|error| format!("{at} (to {} on {}): {error}", grant.to, grant.object));
        self.errors.extend(errors);
        self.matrix.rows.extend(expansion.rows);
        self.matrix.given_back.extend(expansion.given_back);
    }

    pub(super) fn ownership(&mut self, owner: &str, object: &str) {
        let selector = match Selector::parse(object) {
            Ok(selector) => selector,
            Err(error) => {
                self.errors.push(format!("roles.{owner}.owns: {error}"));
                return;
            }
        };
        let class = format!("{OWNER}{}", selector.class.as_str());
        let rows: Vec<PrivilegeRow> = self
            .inventory
            .select(&selector)
            .map(|(_, object)| granted(&class, &object.name, owner, "OWNER", false))
            .collect();
        if rows.is_empty() {
            self.errors.push(format!(
                "roles.{owner}.owns: {}",
                nothing(self.inventory, &selector)
            ));
        }
        self.matrix.rows.extend(rows);
    }
}

/// Rows that one grant gives.
#[derive(Default)]
struct Expansion {
    rows: BTreeSet<PrivilegeRow>,
    /// Rows with the sign `-` that go: see [`super::Compiled`].
    given_back: BTreeSet<PrivilegeRow>,
    errors: Vec<String>,
}

impl Expansion {
    fn expand(&mut self, inventory: &Inventory, grant: &Grant) {
        let selector = match Selector::parse(&grant.object) {
            Ok(selector) => selector,
            Err(error) => return self.errors.push(error),
        };
        self.check_privileges(inventory, grant, selector.class);
        let exceptions = self.exceptions(inventory, grant, &selector);
        let mut objects = inventory
            .select(&selector)
            .filter(|(name, _)| !exceptions.iter().any(|exception| exception.selects(name)))
            .peekable();
        if objects.peek().is_none() {
            self.errors.push(nothing(inventory, &selector));
        }
        for (name, object) in objects {
            self.object(inventory, grant, selector.class, name, object);
            if self.size() > MAX_ROWS {
                return self
                    .errors
                    .push(format!("it gives more than {MAX_ROWS} rows"));
            }
        }
    }

    fn size(&self) -> u64 {
        (self.rows.len() + self.given_back.len()) as u64
    }

    /// Privileges must exist on the class and in the version, and PUBLIC has no grant options.
    fn check_privileges(&mut self, inventory: &Inventory, grant: &Grant, class: ObjectClass) {
        let on_object = grant
            .privileges
            .iter()
            .map(|privilege| (privilege, class.privileges(), "on a"));
        let on_columns = grant
            .columns
            .keys()
            .map(|privilege| (privilege, class.column_privileges(), "on columns of a"));
        for (privilege, existing, place) in on_object.chain(on_columns) {
            if !existing.contains(privilege) {
                self.errors.push(format!(
                    "there is no privilege {} {place} {}",
                    privilege.as_sql(),
                    class.as_str()
                ));
            }
            if *privilege == Privilege::Maintain && inventory.server_version_num < MAINTAIN {
                self.errors
                    .push("MAINTAIN exists from Postgres 17 on".to_owned());
            }
        }
        if grant.grantable && grant.to == PUBLIC {
            self.errors
                .push("everybody cannot have a grant option".to_owned());
        }
    }

    /// Returns the names that the pattern leaves out; each exception must take something from it.
    fn exceptions(
        &mut self,
        inventory: &Inventory,
        grant: &Grant,
        selector: &Selector,
    ) -> Vec<Selector> {
        let mut exceptions = Vec::new();
        for text in &grant.except {
            match Selector::parse(text) {
                Ok(exception) if exception.class != selector.class => self
                    .errors
                    .push(format!("except {text} is of another class")),
                Ok(exception)
                    if !inventory
                        .select(selector)
                        .any(|(name, _)| exception.selects(name)) =>
                {
                    self.errors
                        .push(format!("except {text} leaves nothing out"));
                }
                Ok(exception) => exceptions.push(exception),
                Err(error) => self.errors.push(error),
            }
        }
        exceptions
    }

    fn object(
        &mut self,
        inventory: &Inventory,
        grant: &Grant,
        class: ObjectClass,
        name: &ObjectName,
        object: &CatalogObject,
    ) {
        // Privileges on a parameter are kept under its name in lower case.
        let text = if class == ObjectClass::Parameter {
            &name.name
        } else {
            &object.name
        };
        if object.owner == grant.to {
            self.errors.push(format!("{} owns {text}: an owner has every privilege, and no row tells of it; leave it out", grant.to));
        }
        for privilege in &grant.privileges {
            let row = granted(
                class.as_str(),
                text,
                &grant.to,
                privilege.as_sql(),
                grant.grantable,
            );
            let initial = grant.to == PUBLIC
                && object
                    .initial
                    .iter()
                    .flatten()
                    .any(|initial| initial == privilege.as_sql());
            if initial {
                self.given_back.insert(PrivilegeRow {
                    sign: "-".to_owned(),
                    ..row
                });
            } else {
                self.rows.insert(row);
            }
        }
        for (privilege, columns) in &grant.columns {
            for column in columns {
                match inventory.column(name, column) {
                    Some(column) => {
                        self.rows.insert(granted(
                            COLUMN,
                            column,
                            &grant.to,
                            privilege.as_sql(),
                            grant.grantable,
                        ));
                    }
                    None => self.errors.push(format!("{text} has no column `{column}`")),
                }
            }
        }
    }
}

/// Says that a selector selects nothing, and what may have been meant.
fn nothing(inventory: &Inventory, selector: &Selector) -> String {
    let class = selector.class.as_str();
    if selector.is_pattern() {
        return format!("no {class} matches");
    }
    let namesakes: Vec<&str> = inventory.namesakes(selector).collect();
    let hint = if namesakes.is_empty() {
        String::new()
    } else {
        format!("; there is {}", namesakes.join(", "))
    };
    format!("there is no such {class}{hint}")
}

#[cfg(test)]
mod tests;
