//! The catalog query sees every change of a definition that it claims to see, and none where there
//! is none.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeSet;

use support::{World, postgres, production::Production};
use tokio_postgres::Client;

/// One change each, and the identity in the catalog that must differ.
const CHANGES: &[(&str, &str)] = &[
    ("ALTER TABLE iu.unit ADD extra int", "relation iu.unit"),
    (
        "ALTER TABLE iu.unit ALTER note SET NOT NULL",
        "relation iu.unit",
    ),
    (
        "ALTER TABLE iu.unit ALTER note SET STORAGE EXTERNAL",
        "relation iu.unit",
    ),
    (
        "ALTER TABLE iu.unit ALTER note SET COMPRESSION pglz",
        "relation iu.unit",
    ),
    (
        "ALTER TABLE iu.unit ALTER note SET STATISTICS 500",
        "relation iu.unit",
    ),
    (
        "ALTER TABLE iu.unit ALTER state SET DEFAULT 'cut'",
        "default iu.unit.state",
    ),
    (
        "ALTER TABLE iu.unit SET (fillfactor = 50)",
        "relation iu.unit",
    ),
    ("ALTER TABLE iu.child SET UNLOGGED", "relation iu.child"),
    (
        "ALTER TABLE iu.unit REPLICA IDENTITY FULL",
        "relation iu.unit",
    ),
    (
        "ALTER TABLE iu.child NO INHERIT iu.parent",
        "relation iu.child",
    ),
    (
        "ALTER TABLE iu.event DETACH PARTITION iu.event_2026",
        "relation iu.event_2026",
    ),
    (
        "ALTER TABLE iu.private DISABLE ROW LEVEL SECURITY",
        "relation iu.private",
    ),
    (
        "REFRESH MATERIALIZED VIEW iu.summary WITH NO DATA",
        "filled matview iu.summary",
    ),
    ("CREATE TYPE iu.pair AS (a int, b text)", "relation iu.pair"),
    (
        "CREATE OR REPLACE VIEW iu.open AS SELECT id, slug FROM iu.unit",
        "view iu.open",
    ),
    ("DROP INDEX iu.unit_note", "index iu.unit_note"),
    (
        "ALTER TABLE iu.unit CLUSTER ON unit_pkey",
        "option index iu.unit_pkey",
    ),
    (
        "ALTER TABLE iu.unit DROP CONSTRAINT unit_kind_check",
        "constraint iu.unit.unit_kind_check",
    ),
    (
        "ALTER TABLE iu.event ADD CHECK (unit_id > 0) NOT VALID",
        "constraint iu.event.event_unit_id_check",
    ),
    (
        "ALTER TABLE iu.unit DISABLE TRIGGER touch",
        "option trigger iu.unit.touch",
    ),
    (
        "CREATE RULE quiet AS ON DELETE TO iu.unit DO INSTEAD NOTHING",
        "rule iu.unit.quiet",
    ),
    (
        "ALTER POLICY own ON iu.private USING (true)",
        "policy iu.private.own",
    ),
    (
        "ALTER POLICY own ON iu.private TO public",
        "policy iu.private.own",
    ),
    (
        "ALTER FUNCTION iu.touch() SECURITY DEFINER",
        "routine iu.touch()",
    ),
    (
        "ALTER TYPE iu.state RENAME VALUE 'cut' TO 'sliced'",
        "type iu.state",
    ),
    ("ALTER DOMAIN iu.slug SET NOT NULL", "type iu.slug"),
    (
        "CREATE TYPE iu.span AS RANGE (subtype = float8)",
        "type iu.span",
    ),
    (
        "ALTER SEQUENCE iu.parent_id_seq INCREMENT 2",
        "sequence iu.parent_id_seq",
    ),
    (
        "ALTER SEQUENCE iu.parent_id_seq OWNED BY NONE",
        "sequence iu.parent_id_seq",
    ),
    ("DROP EXTENSION pg_trgm CASCADE", "extension pg_trgm"),
    ("CREATE SCHEMA other", "schema other"),
    (
        "CREATE STATISTICS iu.stats ON slug, kind FROM iu.unit",
        "statistics iu.stats",
    ),
    (
        "CREATE COLLATION iu.german (provider = icu, locale = 'de-DE')",
        "collation iu.german",
    ),
    (
        "CREATE OPERATOR iu.=== (leftarg = int, rightarg = int, function = int4eq)",
        "operator iu.===(integer,integer)",
    ),
    (
        "CREATE CAST (iu.state AS int) WITH INOUT",
        "cast iu.state as integer",
    ),
    (
        "CREATE TEXT SEARCH CONFIGURATION iu.german (copy = german)",
        "text search configuration iu.german",
    ),
    (
        "CREATE TEXT SEARCH DICTIONARY iu.words (template = simple)",
        "text search dictionary iu.words",
    ),
    (
        "CREATE FOREIGN DATA WRAPPER nothing",
        "foreign data wrapper nothing",
    ),
    (
        "ALTER SERVER elsewhere OPTIONS (SET host '192.0.2.2')",
        "foreign server elsewhere",
    ),
    (
        "CREATE FOREIGN TABLE iu.far (x int) SERVER elsewhere OPTIONS (table_name 'y')",
        "foreign table iu.far",
    ),
    (
        "CREATE FUNCTION iu.ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER ddl ON sql_drop EXECUTE FUNCTION iu.ddl()",
        "event trigger ddl",
    ),
    (
        "CREATE OPERATOR CLASS iu.ops FOR TYPE iu.state USING btree AS STORAGE iu.state",
        "operator class iu.ops using btree",
    ),
    (
        "CREATE TRANSFORM FOR int LANGUAGE plpgsql (FROM SQL WITH FUNCTION prsd_lextype(internal))",
        "transform integer for plpgsql",
    ),
    (
        "COMMENT ON COLUMN iu.unit.note IS 'other'",
        "comment table column iu.unit.note",
    ),
    (
        "ALTER DATABASE directus SET search_path = iu",
        "setting database",
    ),
    (
        "ALTER ROLE app_reader IN DATABASE directus SET work_mem = '9MB'",
        "setting app_reader",
    ),
    (
        "ALTER TABLE iu.event DISABLE TRIGGER ALL",
        "option constraint iu.event.event_unit_id_fkey on iu.event_2026",
    ),
    (
        "CREATE RULE quiet AS ON DELETE TO iu.unit DO INSTEAD NOTHING; ALTER TABLE iu.unit DISABLE RULE quiet",
        "option rule iu.unit.quiet",
    ),
    (
        "CREATE OR REPLACE FUNCTION public.similarity(text, text) RETURNS float4 LANGUAGE sql AS 'SELECT 1.0::float4'",
        "routine public.similarity(text,text)",
    ),
    (
        "ALTER FUNCTION public.similarity(text, text) COST 7",
        "routine public.similarity(text,text)",
    ),
    (
        "CREATE FUNCTION pg_catalog.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "routine mine()",
    ),
    (
        "CREATE OR REPLACE AGGREGATE iu.total(int) (SFUNC = int4pl, STYPE = int, PARALLEL = SAFE)",
        "routine iu.total(integer)",
    ),
    (
        "CREATE FUNCTION iu.one() RETURNS int LANGUAGE sql BEGIN ATOMIC; SELECT 1; END",
        "routine body iu.one()",
    ),
    (
        "CREATE OPERATOR FAMILY iu.loose USING btree",
        "operator family iu.loose using btree",
    ),
    (
        "ALTER OPERATOR FAMILY integer_ops USING btree ADD FUNCTION 1 (int, iu.state) iu.compare(int, iu.state)",
        "operator family pg_catalog.integer_ops using btree",
    ),
    (
        "CREATE DEFAULT CONVERSION iu.recode FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
        "conversion iu.recode",
    ),
    (
        "CREATE ACCESS METHOD heap_too TYPE TABLE HANDLER heap_tableam_handler",
        "access method heap_too",
    ),
    (
        "CREATE TEXT SEARCH PARSER iu.words (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype)",
        "text search parser iu.words",
    ),
    (
        "CREATE TEXT SEARCH TEMPLATE iu.plain (LEXIZE = dsimple_lexize)",
        "text search template iu.plain",
    ),
    (
        "INSERT INTO pg_seclabel VALUES ('iu.unit'::regclass, 'pg_class'::regclass, 0, 'selinux', 'secret')",
        "security label selinux on table iu.unit",
    ),
    (
        "INSERT INTO pg_shseclabel SELECT oid, 'pg_database'::regclass, 'selinux', 'secret' FROM pg_database WHERE datname = current_database()",
        "security label selinux on database",
    ),
    (
        "ALTER DATABASE directus CONNECTION LIMIT 3",
        "option database",
    ),
    (
        "COMMENT ON DATABASE directus IS 'other'",
        "comment database",
    ),
    (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'iu.unit_open'::regclass",
        "invalid index iu.unit_open",
    ),
    (
        "ALTER PUBLICATION everything SET (publish = 'insert')",
        "publication everything",
    ),
    (
        "COMMENT ON PUBLICATION everything IS 'other'",
        "undumped comment publication everything",
    ),
    (
        "CREATE SUBSCRIPTION other CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false)",
        "subscription other",
    ),
    (
        "ALTER DOMAIN iu.slug ADD CONSTRAINT short CHECK (length(VALUE) < 99)",
        "constraint iu.slug.short",
    ),
];

/// Objects that some of the changes need.
const BEFORE: &str = "
    CREATE FUNCTION iu.compare(int, iu.state) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
    CREATE AGGREGATE iu.total(int) (SFUNC = int4pl, STYPE = int)";

/// The catalog as text, a definition a line.
async fn catalog(client: &Client) -> BTreeSet<String> {
    let text = dryrun_postgres::catalog(client).await.unwrap().to_text();
    text.lines().map(str::to_owned).collect()
}

/// Kind and identity of a line, without its definition.
fn identity(line: &str) -> String {
    let (identity, _) = line.rsplit_once('\t').unwrap();
    identity.replace('\t', " ")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_change_is_seen() {
    let Some(programs) = postgres() else { return };
    let world = World::new();
    let production = Production::start(&world, &programs, &[]).await;
    let session = production.session().await;
    let client = &session.client;
    client.batch_execute(BEFORE).await.unwrap();
    let before = catalog(client).await;
    assert_eq!(catalog(client).await, before);
    let identities: BTreeSet<_> = before.iter().map(|line| identity(line)).collect();
    assert_eq!(identities.len(), before.len(), "identities are unique");
    let mut missed = Vec::new();
    for (change, expected) in CHANGES {
        client.batch_execute("BEGIN").await.unwrap();
        client
            .batch_execute(change)
            .await
            .unwrap_or_else(|error| panic!("{change}: {error:?}"));
        let after = catalog(client).await;
        client.batch_execute("ROLLBACK").await.unwrap();
        let differing: BTreeSet<_> = before
            .symmetric_difference(&after)
            .map(|line| identity(line))
            .collect();
        if !differing.contains(*expected) {
            missed.push(format!("{change}: {expected} is not in {differing:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    client.batch_execute("BEGIN; GRANT SELECT ON iu.unit TO readers; ANALYZE iu.unit; INSERT INTO iu.parent (x) VALUES (1)").await.unwrap();
    assert_eq!(
        catalog(client).await,
        before,
        "neither rights nor rows are definitions"
    );
}
