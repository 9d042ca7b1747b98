//! The ledger of effects against real servers, with logins that try to keep changes out of it.
//!
//! Runs against each installed version from 15 on (see `dryrun_postgres::testing::installations`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test may panic"
)]

use std::collections::BTreeMap;

use dryrun_core::api::Verification;
use dryrun_core::postgres::effects::{Declared, LedgerEntry, settle};
use dryrun_core::run::facts::{CopyEffects, RowEffects, ScenarioEffects};
use dryrun_postgres::testing::{Server, installations, skip};
use dryrun_postgres::{Options, Session};
use serde_json::json;
use tokio_postgres::{Client, NoTls};

/// As the copy's server is set up.
const PARAMETERS: [&str; 7] = [
    "wal_level=logical",
    "max_replication_slots=1",
    "max_wal_senders=0",
    "synchronous_commit=off",
    "full_page_writes=off",
    "autovacuum=off",
    "max_prepared_transactions=4",
];

const WORLD: &str = include_str!("effects/world.sql");

/// A scenario, what it is seen to have done, and what only the whole copy shows.
struct Case {
    name: &'static str,
    role: &'static str,
    sql: &'static [&'static str],
    rows: &'static [(&'static str, [u64; 5])],
    sequences: &'static [(&'static str, Option<u64>)],
    copy: &'static [(&'static str, [u64; 5])],
    unexplained: &'static [&'static str],
    large_objects: u64,
}

impl Case {
    const fn new(name: &'static str, sql: &'static [&'static str]) -> Self {
        Self {
            name,
            role: "tool",
            sql,
            rows: &[],
            sequences: &[],
            copy: &[],
            unexplained: &[],
            large_objects: 0,
        }
    }
}

/// Inserted, updated, deleted, truncated, rewritten.
fn effects([inserted, updated, deleted, truncated, rewritten]: [u64; 5]) -> RowEffects {
    RowEffects {
        inserted,
        updated,
        deleted,
        truncated,
        rewritten,
    }
}

fn cases() -> Vec<Case> {
    vec![
        Case {
            ..Case::new("reads", &["SELECT * FROM item FOR UPDATE", "TABLE note"])
        },
        Case {
            rows: &[("public.item", [0, 500, 0, 0, 0])],
            ..Case::new("writes the same values", &["UPDATE item SET amount = amount"])
        },
        Case {
            rows: &[("public.note", [3, 0, 3, 0, 0])],
            ..Case::new(
                "deletes and inserts the same rows of a table without a key",
                &["WITH gone AS (DELETE FROM note WHERE a <= 3 RETURNING *) INSERT INTO note SELECT * FROM gone"],
            )
        },
        Case {
            rows: &[("public.note", [100, 0, 0, 1, 0])],
            ..Case::new(
                "empties a table and fills it again",
                &["BEGIN;
                   CREATE TEMP TABLE kept ON COMMIT DROP AS TABLE note;
                   TRUNCATE note;
                   INSERT INTO note TABLE kept;
                   COMMIT"],
            )
        },
        Case {
            rows: &[
                ("public.item", [0, 0, 0, 1, 0]),
                ("public.note", [0, 0, 0, 1, 0]),
                ("public.\"odd: INSERT: \"\"x\"", [0, 0, 0, 1, 0]),
            ],
            ..Case::new(
                "empties several tables at a time",
                &[r#"TRUNCATE note, item, "odd: INSERT: ""x""#],
            )
        },
        Case {
            rows: &[("public.item", [2, 0, 0, 0, 0])],
            sequences: &[("public.item_id_seq", Some(3))],
            ..Case::new(
                "rolls back a part",
                &[
                    "BEGIN; DELETE FROM item; ROLLBACK",
                    "BEGIN;
                     SAVEPOINT a;
                     INSERT INTO item (name, amount) VALUES ('a', 1);
                     ROLLBACK TO a;
                     INSERT INTO item (name, amount) VALUES ('b', 1), ('c', 2);
                     COMMIT",
                ],
            )
        },
        Case {
            rows: &[("public.item", [3, 0, 0, 0, 0])],
            ..Case::new(
                "takes a step of a column's sequence for each row",
                &["INSERT INTO item (name, amount) SELECT 'n', g FROM generate_series(1, 3) g"],
            )
        },
        Case {
            rows: &[("public.event_1", [0, 0, 2, 0, 0]), ("public.event_2", [2, 0, 0, 0, 0])],
            ..Case::new(
                "moves rows to another partition",
                &["UPDATE event SET at = at + 10 WHERE at = 3"],
            )
        },
        Case {
            rows: &[("public.event_2", [1, 0, 0, 0, 0])],
            ..Case::new(
                "inserts through the parent, with a step of the parent's sequence",
                &["INSERT INTO event (at) VALUES (15)"],
            )
        },
        Case {
            rows: &[("public.item", [0, 1, 0, 0, 0])],
            ..Case::new(
                "updates on conflict",
                &["INSERT INTO item (id, name, amount) OVERRIDING SYSTEM VALUE VALUES (1, 'x', 1) ON CONFLICT (id) DO UPDATE SET amount = 9"],
            )
        },
        Case {
            rows: &[("public.\"odd: INSERT: \"\"x\"", [2, 0, 0, 0, 0])],
            ..Case::new(
                "writes values that look like lines of the log, and long ones",
                &[r#"INSERT INTO "odd: INSERT: ""x" VALUES (E'x\ntable public.item: DELETE: '), (repeat(md5(random()::text), 100000))"#],
            )
        },
        Case {
            ..Case::new(
                "writes messages into the log",
                &["SELECT pg_logical_emit_message(true, 'table public.item: DELETE: ', E'\ntable public.item: INSERT: '),
                          pg_logical_emit_message(false, 'table public.item: DELETE: ', '')"],
            )
        },
        Case {
            role: "powerful",
            rows: &[("public.item", [0, 500, 0, 0, 0]), ("public.audit", [1, 0, 0, 0, 0])],
            ..Case::new(
                "resets statistics, switches triggers off and writes as a replica",
                &[
                    "UPDATE item SET amount = 1 WHERE id = 1",
                    "SET track_counts = off; SET session_replication_role = replica; UPDATE item SET amount = 0 WHERE id > 1",
                    "SELECT pg_stat_reset()",
                ],
            )
        },
        Case {
            role: "owner",
            rows: &[("public.salary", [0, 50, 0, 0, 0])],
            ..Case::new(
                "drops the trigger of a table and makes it again",
                &["BEGIN;
                   DROP TRIGGER audits ON salary;
                   UPDATE salary SET amount = 0;
                   CREATE TRIGGER audits AFTER UPDATE ON salary FOR EACH STATEMENT EXECUTE FUNCTION audits();
                   COMMIT"],
            )
        },
        Case {
            role: "owner",
            rows: &[("public.price", [0, 50, 0, 0, 0])],
            unexplained: &["public.salary"],
            ..Case::new(
                "lends a table's name to another one",
                &["BEGIN;
                   ALTER TABLE price RENAME TO price_away;
                   ALTER TABLE salary RENAME TO price;
                   ALTER TABLE price DISABLE TRIGGER audits;
                   UPDATE price SET amount = 0;
                   ALTER TABLE price ENABLE TRIGGER audits;
                   ALTER TABLE price RENAME TO salary;
                   ALTER TABLE price_away RENAME TO price;
                   COMMIT"],
            )
        },
        Case {
            role: "owner",
            rows: &[("public.price", [0, 10, 0, 0, 0])],
            copy: &[("public.indexed", [0, 0, 0, 0, 1])],
            ..Case::new(
                "lends the name of a table whose versions cannot be counted",
                &["BEGIN;
                   ALTER TABLE price RENAME TO price_away;
                   ALTER TABLE indexed RENAME TO price;
                   UPDATE price SET a = a;
                   ALTER TABLE price RENAME TO indexed;
                   ALTER TABLE price_away RENAME TO price;
                   COMMIT"],
            )
        },
        Case {
            role: "owner",
            rows: &[
                ("public.salary", [0, 0, 0, 0, 1]),
                ("public.audit", [1, 0, 0, 0, 0]),
            ],
            ..Case::new(
                "writes while the table is not logged",
                &[
                    "ALTER TABLE salary SET UNLOGGED",
                    "UPDATE salary SET amount = 0",
                    "ALTER TABLE salary SET LOGGED",
                ],
            )
        },
        Case {
            role: "owner",
            rows: &[("public.price", [0, 0, 0, 0, 1])],
            ..Case::new(
                "overwrites a column by way of its type",
                &["ALTER TABLE price ALTER amount TYPE bigint USING 0", "ALTER TABLE price ALTER amount TYPE int"],
            )
        },
        Case {
            role: "owner",
            rows: &[("public.price", [1, 0, 0, 0, 1])],
            ..Case::new(
                "makes a table in place of another",
                &["DROP TABLE price; CREATE TABLE price (id int PRIMARY KEY, amount int); INSERT INTO price VALUES (1, 1)"],
            )
        },
        Case {
            role: "owner",
            copy: &[("public.price", [0, 0, 50, 0, 0]), ("public.cost", [50, 0, 0, 0, 0])],
            ..Case::new("renames a table", &["ALTER TABLE price RENAME TO cost"])
        },
        Case {
            role: "owner",
            rows: &[("public.cost", [50, 0, 0, 0, 0])],
            ..Case::new("makes a table of another", &["CREATE TABLE cost AS TABLE price"])
        },
        Case {
            role: "owner",
            copy: &[("public.price", [0, 0, 50, 0, 0])],
            ..Case::new("drops a table", &["DROP TABLE price"])
        },
        Case {
            copy: &[("public.cache", [2, 0, 1, 0, 0])],
            ..Case::new(
                "writes a table that is not logged",
                &["INSERT INTO cache VALUES (51)", "UPDATE cache SET a = -1 WHERE a = 1"],
            )
        },
        Case {
            role: "owner",
            rows: &[("public.total", [0, 0, 0, 0, 1])],
            ..Case::new("refreshes a view", &["REFRESH MATERIALIZED VIEW total"])
        },
        Case {
            role: "owner",
            rows: &[("public.sold", [0, 1, 0, 0, 0]), ("public.total", [1, 0, 1, 0, 0])],
            ..Case::new(
                "refreshes a view row by row",
                &["UPDATE sold SET amount = 7 WHERE id = 1", "REFRESH MATERIALIZED VIEW CONCURRENTLY total"],
            )
        },
        Case {
            sequences: &[("public.invoice_no", Some(998))],
            ..Case::new("sets a sequence forward", &["SELECT setval('invoice_no', 999)"])
        },
        Case {
            sequences: &[("public.invoice_no", None)],
            ..Case::new(
                "sets a sequence back",
                &["SELECT setval('invoice_no', -3, false)"],
            )
        },
        Case {
            sequences: &[("public.ticket_no", None)],
            ..Case::new("sets a sequence beside its steps", &["SELECT setval('ticket_no', 25)"])
        },
        Case {
            sequences: &[("public.ticket_no", Some(2))],
            ..Case::new("takes steps", &["SELECT nextval('ticket_no')", "SELECT nextval('ticket_no')"])
        },
        Case {
            large_objects: 3,
            ..Case::new(
                "writes, makes and removes large objects",
                &["SELECT lo_put(4711, 0, 'HELLO')", "SELECT lo_create(4713)", "SELECT lo_unlink(4712)"],
            )
        },
    ]
}

/// A server with databases that are as [`WORLD`] makes them.
struct World(Server);

/// One of them.
struct Copy<'a> {
    server: &'a Server,
    database: String,
    session: Session,
}

impl World {
    async fn start(programs: &std::path::Path) -> Self {
        let server = Server::start(programs, &PARAMETERS).unwrap();
        let maintenance = connect(&server, "postgres", "bootstrap").await;
        maintenance
            .batch_execute("CREATE DATABASE shop")
            .await
            .unwrap();
        let admin = connect(&server, "shop", "bootstrap").await;
        admin.batch_execute(WORLD).await.unwrap();
        Self(server)
    }

    async fn copy(&self, number: usize) -> Copy<'_> {
        let database = format!("shop_{number}");
        let maintenance = connect(&self.0, "postgres", "bootstrap").await;
        let create = format!("CREATE DATABASE {database} TEMPLATE shop");
        maintenance.batch_execute(&create).await.unwrap();
        let mut config = self.0.config(&database);
        let session = Session::connect("connect", &mut config, &Options::superuser(0), NoTls)
            .await
            .unwrap();
        Copy {
            server: &self.0,
            database,
            session,
        }
    }
}

impl Copy<'_> {
    /// Statements of a login, each sent by itself; then its session ends.
    async fn run(&self, role: &str, statements: &[&str]) {
        let client = connect(self.server, &self.database, role).await;
        for statement in statements {
            if let Err(error) = client.batch_execute(statement).await {
                panic!("{role}: {statement}: {error:?}");
            }
        }
        drop(client);
        let left = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1";
        while self
            .session
            .client
            .query_one(left, &[&role])
            .await
            .unwrap()
            .get::<_, i64>(0)
            > 0
        {
            tokio::task::yield_now().await;
        }
    }

    async fn counts(&self) -> BTreeMap<String, u64> {
        let counts = dryrun_postgres::counts(&self.session.client).await.unwrap();
        let parse = |(table, rows): (&str, &str)| (table.to_owned(), rows.parse().unwrap());
        counts.iter().map(parse).collect()
    }

    /// Reads the effects of one scenario, and of the copy as a whole.
    async fn close(
        &self,
        first: &LedgerEntry,
        before: &BTreeMap<String, u64>,
        declared: &Declared,
    ) -> (ScenarioEffects, CopyEffects) {
        let client = &self.session.client;
        let entry = dryrun_postgres::read_ledger(client).await.unwrap();
        assert_eq!(
            dryrun_postgres::read_ledger(client).await.unwrap().rows,
            entry.rows
        );
        let effects = entry.since(first, declared);
        dryrun_postgres::advance_ledger(client, &entry.upto)
            .await
            .unwrap();
        let after = dryrun_postgres::counts_since(client, &first.next_xid)
            .await
            .unwrap();
        let large_objects = dryrun_postgres::large_objects(client, first).await.unwrap();
        let copy = settle(
            &[first.clone(), entry],
            before,
            &after,
            large_objects,
            declared,
        );
        (effects, copy)
    }
}

async fn connect(server: &Server, database: &str, role: &str) -> Client {
    let mut config = server.config(database);
    let (client, connection) = config.user(role).connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn expected(rows: &[(&str, [u64; 5])]) -> BTreeMap<String, RowEffects> {
    let of = |(table, numbers): &(&str, [u64; 5])| ((*table).to_owned(), effects(*numbers));
    rows.iter()
        .map(of)
        .filter(|(_, rows)| !rows.is_none())
        .collect()
}

#[tokio::test]
async fn every_effect_is_in_the_ledger_whatever_the_login_does() {
    let declared = Declared::of(&Verification::default());
    let mut tested = false;
    for programs in installations() {
        let world = World::start(&programs).await;
        let mut wrong = Vec::new();
        for (number, case) in cases().into_iter().enumerate() {
            let copy = world.copy(number).await;
            let first = dryrun_postgres::open_ledger(&copy.session.client)
                .await
                .unwrap();
            let before = copy.counts().await;
            copy.run(case.role, case.sql).await;
            let (effects, whole) = copy.close(&first, &before, &declared).await;
            let sequences = case.sequences.iter();
            let sequences = sequences.map(|(name, steps)| ((*name).to_owned(), *steps));
            let right = effects.rows == expected(case.rows)
                && effects.sequences == sequences.collect()
                && (effects.prepared, effects.unreadable, effects.disturbed) == (0, 0, false)
                && whole.rows == expected(case.copy)
                && whole.unexplained.examples == case.unexplained
                && whole.large_objects == case.large_objects;
            if !right {
                wrong.push(format!("{}: {effects:?} {whole:?}", case.name));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        tested = true;
    }
    if !tested {
        skip("no Postgres server is installed (on Debian: apt-get install postgresql)");
    }
}

/// A prepared transaction may lock anything: it is counted, and nothing is waited for.
#[tokio::test]
async fn a_prepared_transaction_is_counted_and_not_waited_for() {
    let declared = Declared::of(&Verification::default());
    for programs in installations() {
        let world = World::start(&programs).await;
        let copy = world.copy(0).await;
        let client = &copy.session.client;
        let first = dryrun_postgres::open_ledger(client).await.unwrap();
        let left = "BEGIN; ALTER SEQUENCE mine RESTART; LOCK TABLE item; INSERT INTO item (name) VALUES ('x'); PREPARE TRANSACTION 'left'";
        copy.run("tool", &["CREATE TEMP TABLE t ()"]).await;
        connect(copy.server, &copy.database, "bootstrap")
            .await
            .batch_execute("CREATE SEQUENCE mine; ALTER SEQUENCE mine OWNER TO tool")
            .await
            .unwrap();
        copy.run("tool", &[left]).await;
        let entry = dryrun_postgres::read_ledger(client).await.unwrap();
        let effects = entry.since(&first, &declared);
        assert_eq!((effects.prepared, effects.rows.len()), (1, 0));
    }
}

/// A login with REPLICATION can read from the slot or drop it, but not unseen.
#[tokio::test]
async fn a_slot_that_was_used_is_told() {
    let declared = Declared::of(&Verification::default());
    let uses = [
        "SELECT count(*) FROM pg_logical_slot_get_changes('dryrun_effects', NULL, NULL)",
        "SELECT pg_replication_slot_advance('dryrun_effects', pg_current_wal_insert_lsn())",
        "SELECT pg_drop_replication_slot('dryrun_effects')",
        "SELECT pg_drop_replication_slot('dryrun_effects');
         SELECT pg_create_logical_replication_slot('dryrun_effects', 'test_decoding')",
    ];
    for programs in installations() {
        let world = World::start(&programs).await;
        let copy = world.copy(0).await;
        let client = &copy.session.client;
        for usage in uses {
            let first = dryrun_postgres::open_ledger(client).await.unwrap();
            copy.run("tool", &["UPDATE item SET amount = 0"]).await;
            copy.run("replicator", &["SELECT count(*) FROM pg_logical_slot_peek_changes('dryrun_effects', NULL, NULL)"]).await;
            let entry = dryrun_postgres::read_ledger(client).await.unwrap();
            assert!(!entry.since(&first, &declared).disturbed, "{usage}");
            copy.run("replicator", &[usage]).await;
            let entry = dryrun_postgres::read_ledger(client).await.unwrap();
            assert!(entry.since(&first, &declared).disturbed, "{usage}");
        }
    }
}

/// Numbers are sums over what an entry covers; a pattern says how many that are.
#[tokio::test]
async fn partitions_are_declared_by_a_pattern() {
    let declared = json!({
        "rowChanges": [
            {"table": "public.event_*", "expectTables": 2, "inserted": 4},
            {"table": "public.event_2", "inserted": 1},
        ],
        "sequenceChanges": [{"sequence": "public.*_no", "expectSequences": 2, "steps": 3}],
    });
    let declared = Declared::of(&serde_json::from_value(declared).unwrap());
    for programs in installations() {
        let world = World::start(&programs).await;
        let copy = world.copy(0).await;
        let first = dryrun_postgres::open_ledger(&copy.session.client)
            .await
            .unwrap();
        let before = copy.counts().await;
        let insert = "INSERT INTO event (at) VALUES (1), (2), (3), (4), (15)";
        let steps = "SELECT nextval('invoice_no'), nextval('invoice_no'), nextval('ticket_no')";
        copy.run("tool", &[insert, steps]).await;
        let (effects, whole) = copy.close(&first, &before, &declared).await;
        let rows = [
            ("public.event_*", [4, 0, 0, 0, 0]),
            ("public.event_2", [1, 0, 0, 0, 0]),
        ];
        assert_eq!(effects.rows, expected(&rows));
        assert_eq!(
            effects.sequences,
            BTreeMap::from([("public.*_no".to_owned(), Some(3))])
        );
        assert_eq!((effects.other_tables, effects.other_sequences), (0, 0));
        assert_eq!(
            whole.matched_tables,
            BTreeMap::from([("public.event_*".to_owned(), 2)])
        );
        assert_eq!(
            whole.matched_sequences,
            BTreeMap::from([("public.*_no".to_owned(), 2)])
        );
    }
}
