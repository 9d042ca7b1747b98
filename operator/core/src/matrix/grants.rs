//! Grants and ownership of a matrix, expanded over the objects that there are.

use std::collections::BTreeSet;

use super::class::{COLUMN, OWNER, ObjectClass};
use super::expected::Compiler;
use super::inventory::{CatalogObject, Inventory};
use super::name::{ObjectName, Selector};
use super::row::{PUBLIC, granted};
use crate::api::{Grant, Privilege};
use crate::facts::PrivilegeRow;

/// First version with the privilege MAINTAIN.
const MAINTAIN: u32 = 170_000;

impl Compiler<'_> {
    pub(super) fn grant(&mut self, index: usize, grant: &Grant) {
        let mut expansion = Expansion::default();
        if !self.is_grantee(&grant.to) {
            expansion.errors.push(format!("{} is not a declared role", grant.to));
        }
        expansion.expand(self.inventory, grant);
        let rows = expansion.rows.len() + expansion.given_back.len();
        if let Some(expected) = grant.expect_rows
            && rows as u64 != u64::from(expected)
            && expansion.errors.is_empty()
        {
            expansion.errors.push(format!("it gives {rows} rows, expectRows is {expected}"));
        }
        let errors = expansion.errors.into_iter().map(|error| format!("grants[{index}] (to {} on {}): {error}", grant.to, grant.object));
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
        let rows: Vec<PrivilegeRow> =
            self.inventory.select(&selector).map(|(_, object)| granted(&class, &object.name, owner, "OWNER", false)).collect();
        if rows.is_empty() {
            self.errors.push(format!("roles.{owner}.owns: {}", nothing(self.inventory, &selector)));
        }
        self.matrix.rows.extend(rows);
    }
}

/// What one grant gives.
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
        let mut objects =
            inventory.select(&selector).filter(|(name, _)| !exceptions.iter().any(|exception| exception.selects(name))).peekable();
        if objects.peek().is_none() {
            self.errors.push(nothing(inventory, &selector));
        }
        for (name, object) in objects {
            self.object(inventory, grant, selector.class, name, object);
        }
    }

    /// Privileges must exist on the class and in the version, and PUBLIC has no grant options.
    fn check_privileges(&mut self, inventory: &Inventory, grant: &Grant, class: ObjectClass) {
        let on_object = grant.privileges.iter().map(|privilege| (privilege, class.privileges(), "on a"));
        let on_columns = grant.columns.keys().map(|privilege| (privilege, class.column_privileges(), "on columns of a"));
        for (privilege, existing, place) in on_object.chain(on_columns) {
            if !existing.contains(privilege) {
                self.errors.push(format!("there is no privilege {} {place} {}", privilege.as_sql(), class.as_str()));
            }
            if *privilege == Privilege::Maintain && inventory.server_version_num < MAINTAIN {
                self.errors.push("MAINTAIN exists from Postgres 17 on".to_owned());
            }
        }
        if grant.grantable && grant.to == PUBLIC {
            self.errors.push("everybody cannot have a grant option".to_owned());
        }
    }

    /// What the pattern leaves out; each exception must take something from it.
    fn exceptions(&mut self, inventory: &Inventory, grant: &Grant, selector: &Selector) -> Vec<Selector> {
        let mut exceptions = Vec::new();
        for text in &grant.except {
            match Selector::parse(text) {
                Ok(exception) if exception.class != selector.class => self.errors.push(format!("except {text} is of another class")),
                Ok(exception) if !inventory.select(selector).any(|(name, _)| exception.selects(name)) => {
                    self.errors.push(format!("except {text} leaves nothing out"));
                }
                Ok(exception) => exceptions.push(exception),
                Err(error) => self.errors.push(error),
            }
        }
        exceptions
    }

    fn object(&mut self, inventory: &Inventory, grant: &Grant, class: ObjectClass, name: &ObjectName, object: &CatalogObject) {
        // Privileges on a parameter are kept under its name in lower case.
        let text = if class == ObjectClass::Parameter { &name.name } else { &object.name };
        if object.owner == grant.to {
            self.errors.push(format!("{} owns {text}: an owner has every privilege, and no row tells of it; leave it out", grant.to));
        }
        for privilege in &grant.privileges {
            let row = granted(class.as_str(), text, &grant.to, privilege.as_sql(), grant.grantable);
            let initial = grant.to == PUBLIC && object.initial.iter().flatten().any(|initial| initial == privilege.as_sql());
            if initial {
                self.given_back.insert(PrivilegeRow { sign: "-".to_owned(), ..row });
            } else {
                self.rows.insert(row);
            }
        }
        for (privilege, columns) in &grant.columns {
            for column in columns {
                match inventory.column(name, column) {
                    Some(column) => {
                        self.rows.insert(granted(COLUMN, column, &grant.to, privilege.as_sql(), grant.grantable));
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
    let hint = if namesakes.is_empty() { String::new() } else { format!("; there is {}", namesakes.join(", ")) };
    format!("there is no such {class}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Privileges;
    use crate::matrix::inventory::tests::inventory;
    use crate::matrix::row::line;
    use crate::matrix::{Compiled, compile};

    const OBJECTS: [&str; 14] = [
        "schema:iu",
        "table:iu.unit",
        "table:iu.source",
        "table:iu.\"Odd\"",
        "view:iu.v_unit",
        "view:iu.v_source",
        "column:iu.unit.state",
        "column:iu.v_unit.state",
        "function:iu.cut(integer,text)",
        "function:pg_read_file(text)",
        "sequence:iu.unit_id_seq",
        "parameter:TimeZone",
        "large_object:16400",
        "database:directus",
    ];

    fn compiled(grants: &str, version: u32) -> Result<Compiled, Vec<String>> {
        let privileges: Privileges = serde_saphyr::from_str(&format!("{{roles: {{a: {{}}, owner: {{}}}}, grants: [{grants}]}}")).unwrap();
        compile(&privileges, &inventory(version, &OBJECTS), jiff::civil::date(2026, 11, 23))
    }

    fn lines(grants: &str) -> Vec<String> {
        match compiled(grants, 160_000) {
            Ok(matrix) => matrix.rows.iter().map(line).filter(|line| !line.starts_with("role_attr")).collect(),
            Err(errors) => errors,
        }
    }

    #[test]
    fn privileges_and_columns_of_one_table() {
        assert_eq!(
            lines("{to: a, object: 'table:iu.unit', privileges: [SELECT, INSERT], columns: {UPDATE: [state]}, grantable: true}"),
            [
                "column\tiu.unit.state\ta\tUPDATE\ttrue\t+",
                "table\tiu.unit\ta\tINSERT\ttrue\t+",
                "table\tiu.unit\ta\tSELECT\ttrue\t+",
            ]
        );
    }

    #[test]
    fn patterns_give_as_many_rows_as_they_say() {
        assert_eq!(
            lines("{to: a, object: 'table:iu.*', privileges: [SELECT], except: ['table:iu.\"Odd\"'], expectRows: 2}"),
            ["table\tiu.source\ta\tSELECT\tfalse\t+", "table\tiu.unit\ta\tSELECT\tfalse\t+"]
        );
        assert_eq!(
            lines("{to: a, object: 'view:iu.v_*', privileges: [SELECT, INSERT], expectRows: 3}"),
            ["grants[0] (to a on view:iu.v_*): it gives 4 rows, expectRows is 3"]
        );
    }

    #[test]
    fn other_classes() {
        assert_eq!(
            lines(
                "{to: a, object: 'function:iu.cut(integer, text)', privileges: [EXECUTE]}, {to: a, object: 'parameter:timezone', privileges: [SET, ALTER_SYSTEM]},
                 {to: a, object: 'function:pg_catalog.pg_read_file(text)', privileges: [EXECUTE]}, {to: public, object: 'database:directus', privileges: [CONNECT]},
                 {to: a, object: 'large_object:16400', privileges: [SELECT]}"
            ),
            [
                "database\tdirectus\tpublic\tCONNECT\tfalse\t+",
                "function\tiu.cut(integer,text)\ta\tEXECUTE\tfalse\t+",
                "function\tpg_read_file(text)\ta\tEXECUTE\tfalse\t+",
                "large_object\t16400\ta\tSELECT\tfalse\t+",
                "parameter\ttimezone\ta\tALTER SYSTEM\tfalse\t+",
                "parameter\ttimezone\ta\tSET\tfalse\t+",
            ]
        );
    }

    #[test]
    fn what_cannot_hold_is_said() {
        for (grant, message) in [
            ("{to: b, object: 'table:iu.unit', privileges: [SELECT]}", "(to b on table:iu.unit): b is not a declared role"),
            ("{to: a, object: 'table:iu.unti', privileges: [SELECT]}", "(to a on table:iu.unti): there is no such table"),
            ("{to: a, object: 'table:ui.*', privileges: [SELECT], expectRows: 1}", "(to a on table:ui.*): no table matches"),
            (
                "{to: a, object: 'function:iu.cut(int, text)', privileges: [EXECUTE]}",
                "(to a on function:iu.cut(int, text)): there is no such function; there is iu.cut(integer,text)",
            ),
            ("{to: a, object: 'table:iu.unit', columns: {UPDATE: [stat]}}", "(to a on table:iu.unit): iu.unit has no column `stat`"),
            ("{to: a, object: 'table:iu.unit', privileges: [EXECUTE]}", "(to a on table:iu.unit): there is no privilege EXECUTE on a table"),
            ("{to: a, object: 'table:iu.unit', columns: {DELETE: [state]}}", "(to a on table:iu.unit): there is no privilege DELETE on columns of a table"),
            ("{to: a, object: 'table:iu.unit', privileges: [MAINTAIN]}", "(to a on table:iu.unit): MAINTAIN exists from Postgres 17 on"),
            ("{to: public, object: 'table:iu.unit', privileges: [SELECT], grantable: true}", "(to public on table:iu.unit): everybody cannot have a grant option"),
            (
                "{to: owner, object: 'table:iu.unit', privileges: [SELECT]}",
                "(to owner on table:iu.unit): owner owns iu.unit: an owner has every privilege, and no row tells of it; leave it out",
            ),
            (
                "{to: a, object: 'table:iu.*', privileges: [SELECT], except: ['table:iu.nothing'], expectRows: 3}",
                "(to a on table:iu.*): except table:iu.nothing leaves nothing out",
            ),
            (
                "{to: a, object: 'table:iu.*', privileges: [SELECT], except: ['view:iu.v_unit'], expectRows: 3}",
                "(to a on table:iu.*): except view:iu.v_unit is of another class",
            ),
        ] {
            assert_eq!(lines(grant), [format!("grants[0] {message}")]);
        }
    }

    #[test]
    fn the_grant_option_is_either_there_or_not() {
        assert_eq!(
            lines("{to: a, object: 'table:iu.unit', privileges: [SELECT]}, {to: a, object: 'table:iu.unit', privileges: [SELECT], grantable: true}"),
            ["SELECT on table:iu.unit is declared for a both with and without the grant option"]
        );
    }

    #[test]
    fn maintain_exists_from_17_on() {
        let matrix = compiled("{to: a, object: 'table:iu.unit', privileges: [MAINTAIN]}", 170_000).unwrap();
        assert!(matrix.rows.contains(&granted("table", "iu.unit", "a", "MAINTAIN", false)));
    }

    #[test]
    fn an_initial_privilege_of_public_is_no_row_once_it_is_there() {
        let schema = CatalogObject { class: "schema".into(), name: "public".into(), owner: "pg_database_owner".into(), initial: Some(vec!["USAGE".into()]) };
        let privileges: Privileges =
            serde_saphyr::from_str("{roles: {a: {}}, grants: [{to: public, object: 'schema:public', privileges: [USAGE, CREATE], expectRows: 2}]}").unwrap();
        let matrix = compile(&privileges, &Inventory::new(160_000, [schema]), jiff::civil::date(2026, 11, 23)).unwrap();
        assert!(matrix.rows.contains(&granted("schema", "public", PUBLIC, "CREATE", false)));
        assert_eq!(matrix.given_back.iter().map(line).collect::<Vec<_>>(), ["schema\tpublic\tpublic\tUSAGE\tfalse\t-"]);
    }
}
