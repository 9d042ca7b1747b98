//! Grants and ownership of a matrix, expanded over the objects that there are.

use std::collections::BTreeSet;

use super::class::{COLUMN, OWNER, ObjectClass};
use super::expected::Compiler;
use super::inventory::{CatalogObject, is_custom_parameter};
use super::name::{ObjectName, Selector};
use super::row::{PUBLIC, granted};
use crate::api::{Grant, Privilege};
use crate::facts::PrivilegeRow;

/// First version with the privilege MAINTAIN.
const MAINTAIN: u32 = 170_000;

/// An object that a grant is about.
struct Granted<'a> {
    name: &'a ObjectName,
    /// As rows have it.
    text: &'a str,
    catalog: Option<&'a CatalogObject>,
}

impl Compiler<'_> {
    pub(super) fn grant(&mut self, index: usize, grant: &Grant) {
        let at = format!("grants[{index}] (to {} on {})", grant.to, grant.object);
        let rows = match self.expand(grant) {
            Ok(rows) => rows,
            Err(errors) => {
                self.errors.extend(errors.into_iter().map(|error| format!("{at}: {error}")));
                return;
            }
        };
        match grant.expect_rows {
            Some(expected) if u64::from(expected) != rows.len() as u64 => {
                self.errors.push(format!("{at}: it gives {} rows, expectRows is {expected}", rows.len()));
            }
            Some(_) | None => self.matrix.rows.extend(rows),
        }
    }

    /// The rows that a grant gives; those that are initial privileges of PUBLIC go to `given_back` as well, as they are no rows once they are there.
    fn expand(&mut self, grant: &Grant) -> Result<BTreeSet<PrivilegeRow>, Vec<String>> {
        let selector = Selector::parse(&grant.object).map_err(|error| vec![error])?;
        let mut errors = self.unsuitable(grant, selector.class);
        let mut exceptions = Vec::new();
        for exception in &grant.except {
            match Selector::parse(exception) {
                Ok(exception) if exception.class == selector.class => exceptions.push((exception, false)),
                Ok(_) => errors.push(format!("except `{exception}` is of another class")),
                Err(error) => errors.push(error),
            }
        }
        let custom = selector.class == ObjectClass::Parameter && is_custom_parameter(&selector.name.name);
        let mut objects: Vec<Granted<'_>> = Vec::new();
        for (name, catalog) in self.inventory.select(&selector) {
            let mut left_out = false;
            for (exception, used) in &mut exceptions {
                if exception.selects(name) {
                    (left_out, *used) = (true, true);
                }
            }
            if !left_out {
                // Privileges on parameters are kept by the name in lower case.
                let text = if selector.class == ObjectClass::Parameter { &name.name } else { &catalog.name };
                objects.push(Granted { name, text, catalog: Some(catalog) });
            }
        }
        if objects.is_empty() && custom && !selector.is_pattern() {
            objects.push(Granted { name: &selector.name, text: &selector.name.name, catalog: None });
        }
        errors.extend(grant.except.iter().zip(&exceptions).filter(|(_, (_, used))| !used).map(|(text, _)| format!("except `{text}` leaves nothing out")));
        if objects.is_empty() {
            errors.push(self.nothing(&selector));
        }
        let mut rows = BTreeSet::new();
        for object in &objects {
            if object.catalog.is_some_and(|catalog| catalog.owner == grant.to) {
                errors.push(format!("{} owns {}: an owner has every privilege, and no row tells so; leave it out", grant.to, object.text));
            }
            self.privileges_on(object, selector.class, grant, &mut rows, &mut errors);
        }
        if errors.is_empty() { Ok(rows) } else { Err(errors) }
    }
}
