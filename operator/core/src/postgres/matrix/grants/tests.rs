//! Expansion of grants.

use super::*;
use crate::api::Privileges;
use crate::postgres::matrix::inventory::tests::inventory;
use crate::postgres::matrix::row::line;
use crate::postgres::matrix::{Compiled, compile};

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
    let privileges: Privileges = serde_saphyr::from_str(&format!(
        "{{roles: {{a: {{}}, owner: {{}}}}, grants: [{grants}]}}"
    ))
    .unwrap();
    compile(
        &privileges,
        None,
        &inventory(version, &OBJECTS),
        jiff::civil::date(2026, 11, 23),
    )
}

fn lines(grants: &str) -> Vec<String> {
    match compiled(grants, 160_000) {
        Ok(matrix) => matrix
            .rows
            .iter()
            .map(line)
            .filter(|line| !line.starts_with("role_attr"))
            .collect(),
        Err(errors) => errors,
    }
}

#[test]
fn privileges_and_columns_of_one_table() {
    assert_eq!(
        lines(
            "{to: a, object: 'table:iu.unit', privileges: [SELECT, INSERT], columns: {UPDATE: [state]}, grantable: true}"
        ),
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
        lines(
            "{to: a, object: 'table:iu.*', privileges: [SELECT], except: ['table:iu.\"Odd\"'], expectRows: 2}"
        ),
        [
            "table\tiu.source\ta\tSELECT\tfalse\t+",
            "table\tiu.unit\ta\tSELECT\tfalse\t+"
        ]
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
        (
            "{to: b, object: 'table:iu.unit', privileges: [SELECT]}",
            "(to b on table:iu.unit): b is not a declared role",
        ),
        (
            "{to: a, object: 'table:iu.unti', privileges: [SELECT]}",
            "(to a on table:iu.unti): there is no such table",
        ),
        (
            "{to: a, object: 'table:ui.*', privileges: [SELECT], expectRows: 1}",
            "(to a on table:ui.*): no table matches",
        ),
        (
            "{to: a, object: 'function:iu.cut(int, text)', privileges: [EXECUTE]}",
            "(to a on function:iu.cut(int, text)): there is no such function; there is iu.cut(integer,text)",
        ),
        (
            "{to: a, object: 'table:iu.unit', columns: {UPDATE: [stat]}}",
            "(to a on table:iu.unit): iu.unit has no column `stat`",
        ),
        (
            "{to: a, object: 'table:iu.unit', privileges: [EXECUTE]}",
            "(to a on table:iu.unit): there is no privilege EXECUTE on a table",
        ),
        (
            "{to: a, object: 'table:iu.unit', columns: {DELETE: [state]}}",
            "(to a on table:iu.unit): there is no privilege DELETE on columns of a table",
        ),
        (
            "{to: a, object: 'table:iu.unit', privileges: [MAINTAIN]}",
            "(to a on table:iu.unit): MAINTAIN exists from Postgres 17 on",
        ),
        (
            "{to: public, object: 'table:iu.unit', privileges: [SELECT], grantable: true}",
            "(to public on table:iu.unit): everybody cannot have a grant option",
        ),
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
        lines(
            "{to: a, object: 'table:iu.unit', privileges: [SELECT]}, {to: a, object: 'table:iu.unit', privileges: [SELECT], grantable: true}"
        ),
        ["SELECT on table:iu.unit is declared for a both with and without the grant option"]
    );
}

#[test]
fn maintain_exists_from_17_on() {
    let matrix = compiled(
        "{to: a, object: 'table:iu.unit', privileges: [MAINTAIN]}",
        170_000,
    )
    .unwrap();
    assert!(
        matrix
            .rows
            .contains(&granted("table", "iu.unit", "a", "MAINTAIN", false))
    );
}

#[test]
fn an_initial_privilege_of_public_is_no_row_once_it_is_there() {
    let schema = CatalogObject {
        class: "schema".into(),
        name: "public".into(),
        owner: "pg_database_owner".into(),
        initial: Some(vec!["USAGE".into()]),
    };
    let privileges: Privileges =
        serde_saphyr::from_str("{roles: {a: {}}, grants: [{to: public, object: 'schema:public', privileges: [USAGE, CREATE], expectRows: 2}]}").unwrap();
    let matrix = compile(
        &privileges,
        None,
        &Inventory::new(160_000, [schema]),
        jiff::civil::date(2026, 11, 23),
    )
    .unwrap();
    assert!(
        matrix
            .rows
            .contains(&granted("schema", "public", PUBLIC, "CREATE", false))
    );
    assert_eq!(
        matrix.given_back.iter().map(line).collect::<Vec<_>>(),
        ["schema\tpublic\tpublic\tUSAGE\tfalse\t-"]
    );
}

/// One object of each class, as a grant names it.
const CLASSES: [&str; 17] = [
    "database:d",
    "schema:s",
    "table:s.t",
    "view:s.v",
    "matview:s.m",
    "foreign_table:s.f",
    "sequence:s.q",
    "function:s.f(integer)",
    "procedure:s.p()",
    "type:s.t",
    "domain:s.d",
    "language:l",
    "large_object:1",
    "fdw:f",
    "foreign_server:s",
    "tablespace:t",
    "parameter:app.x",
];

#[test]
fn all_is_no_privilege_on_any_class() {
    assert_eq!(CLASSES.len(), ObjectClass::ALL.len());
    for object in CLASSES {
        for privileges in ["privileges: [ALL]", "columns: {ALL: [c]}"] {
            let yaml = format!(
                "{{roles: {{a: {{}}}}, grants: [{{to: a, object: '{object}', {privileges}}}]}}"
            );
            let error = serde_saphyr::from_str::<Privileges>(&yaml).unwrap_err();
            assert!(error.to_string().contains("ALL"), "{object}: {error}");
        }
    }
}

#[test]
fn a_pattern_that_matches_nothing_is_an_error_on_every_class() {
    for object in CLASSES {
        let (class, name) = object.split_once(':').unwrap();
        let pattern = match name.split_once('.') {
            Some((schema, _)) if class != "parameter" => format!("{class}:{schema}.nothing*"),
            _ => format!("{class}:nothing*"),
        };
        let privilege = ObjectClass::parse(class).unwrap().privileges()[0].as_sql();
        let message = format!("grants[0] (to a on {pattern}): no {class} matches");
        assert_eq!(
            lines(&format!(
                "{{to: a, object: '{pattern}', privileges: [{privilege}], expectRows: 1}}"
            )),
            [message]
        );
        // Where it is left out from a larger pattern, too.
        assert_eq!(
            lines(&format!(
                "{{to: a, object: '{pattern}', privileges: [{privilege}], except: ['{pattern}'], expectRows: 1}}"
            ))
            .len(),
            2
        );
    }
}
