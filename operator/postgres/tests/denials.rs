//! Denials against real servers: every denial that a server raises itself is proven, and an
//! imitation is not.
//!
//! Runs against each installed version from 15 on (see `dryrun_postgres::testing::installations`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test may panic"
)]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use dryrun_core::api::DryRunSpec;
use dryrun_core::commands::Facts;
use dryrun_core::gate::{self, Evidence, Status, Verdict};
use dryrun_core::postgres::server_log as log;
use dryrun_core::postgres::server_log::{Crashes, Lines, Markers, Who, WindowReader};
use dryrun_core::run::facts::{LogWindow, ScenarioFacts};
use dryrun_postgres::testing::{SUPERUSER, Server, installations, skip};
use tokio_postgres::{Client, Config, NoTls};

const PARAMETERS: [&str; 10] = [
    "logging_collector=on",
    "log_destination=jsonlog",
    "log_filename=server.log",
    "log_file_mode=0644",
    "log_error_verbosity=verbose",
    "log_connections=on",
    "log_disconnections=on",
    "log_statement=all",
    "lc_messages=C",
    "wal_level=logical",
];

/// Statements that `app` is denied, and the object, where the server names one that exists.
const DENIALS: [(&str, &str); 101] = [
    ("SELECT * FROM iu.orders", "iu.orders"),
    ("SELECT * FROM iu.orders FOR UPDATE", "iu.orders"),
    ("TABLE iu.orders", "table:iu.orders"),
    ("INSERT INTO iu.orders VALUES (1)", "iu.orders"),
    ("UPDATE iu.orders SET amount = 1", "iu.orders"),
    ("DELETE FROM iu.orders", "iu.orders"),
    (
        "WITH gone AS (DELETE FROM iu.orders RETURNING *) SELECT * FROM gone",
        "iu.orders",
    ),
    (
        "MERGE INTO iu.orders o USING iu.columns c ON o.id = c.a WHEN MATCHED THEN DELETE",
        "iu.orders",
    ),
    ("TRUNCATE iu.orders", "iu.orders"),
    ("BEGIN;; LOCK TABLE iu.orders", "iu.orders"),
    ("COPY iu.orders TO STDOUT", "iu.orders"),
    ("SELECT iu.inside()", "iu.orders"),
    ("SELECT iu.rethrow()", "iu.orders"),
    ("DO $$ BEGIN DELETE FROM iu.orders; END $$", "iu.orders"),
    ("SELECT * FROM iu.v", "view:iu.v"),
    ("SELECT * FROM iu.mv", "iu.mv"),
    ("REFRESH MATERIALIZED VIEW iu.mv", ""),
    ("SELECT * FROM hidden.t", "schema:hidden"),
    ("CREATE TABLE iu.x ()", "iu"),
    (
        "CREATE FUNCTION iu.g() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "schema:iu",
    ),
    ("SELECT nextval('iu.s')", "iu.s"),
    ("SELECT currval('iu.s')", "iu.s"),
    ("SELECT setval('iu.s', 4)", "sequence:iu.s"),
    ("SELECT * FROM iu.s", "iu.s"),
    ("SELECT iu.f(1)", "iu.f(integer)"),
    ("CALL iu.p()", "iu.p"),
    ("SELECT pg_read_file('postgresql.conf')", "pg_read_file"),
    ("SELECT pg_reload_conf()", "function:pg_reload_conf()"),
    ("SELECT * FROM pg_authid", "pg_authid"),
    ("CREATE TABLE own.x (s iu.state)", "iu.state"),
    ("CREATE TEMP TABLE x (i int)", "database:postgres"),
    ("CREATE SCHEMA mine", "database:postgres"),
    ("CREATE PUBLICATION more", "postgres"),
    (
        "INSERT INTO iu.hidden_rows VALUES ('boss', 1)",
        "iu.hidden_rows",
    ),
    (
        "SET row_security = off;; SELECT * FROM iu.hidden_rows",
        "iu.hidden_rows",
    ),
    ("SELECT b FROM iu.columns", "iu.columns"),
    ("UPDATE iu.columns SET b = 1", "iu.columns"),
    ("DROP TABLE iu.orders", "iu.orders"),
    ("ALTER TABLE iu.orders ADD COLUMN z int", "iu.orders"),
    ("CREATE INDEX ON iu.orders (id)", "iu.orders"),
    ("DROP INDEX iu.orders_id", "iu.orders_id"),
    ("ALTER FUNCTION iu.f(int) OWNER TO app", "iu.f(integer)"),
    ("DROP SEQUENCE iu.s", "iu.s"),
    ("DROP SCHEMA iu", "iu"),
    ("COMMENT ON TABLE iu.orders IS 'x'", "iu.orders"),
    ("CREATE POLICY q ON iu.orders", "iu.orders"),
    (
        "ALTER TABLE iu.hidden_rows DISABLE ROW LEVEL SECURITY",
        "iu.hidden_rows",
    ),
    (
        "CREATE TRIGGER t BEFORE INSERT ON iu.orders FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "iu.orders",
    ),
    ("GRANT SELECT ON iu.orders TO other", "iu.orders"),
    ("ALTER TYPE iu.state ADD VALUE 'b'", "type:iu.state"),
    ("ALTER COLLATION iu.c RENAME TO d", "iu.c"),
    ("DROP TEXT SEARCH CONFIGURATION iu.ts", "iu.ts"),
    ("DROP STATISTICS iu.st", "iu.st"),
    ("DROP PUBLICATION pub", "pub"),
    ("DROP EXTENSION postgres_fdw", "extension:postgres_fdw"),
    ("SELECT lo_get(4711)", "4711"),
    ("SELECT lo_put(4711, 0, 'x')", "large_object:4711"),
    ("SELECT lo_unlink(4711)", "4711"),
    ("SELECT lo_import('/etc/passwd')", "lo_import(text)"),
    ("SET ROLE other", "role:other"),
    ("SET ROLE boss", "role:boss"),
    ("SET SESSION AUTHORIZATION boss", "role:boss"),
    ("CREATE ROLE new", ""),
    ("ALTER ROLE other LOGIN", ""),
    ("ALTER ROLE boss NOLOGIN", ""),
    ("ALTER ROLE app SUPERUSER", ""),
    ("ALTER ROLE other RENAME TO another", ""),
    ("ALTER ROLE other SET work_mem = '1MB'", ""),
    ("DROP ROLE other", ""),
    ("GRANT other TO app", "role:other"),
    ("GRANT boss TO app", ""),
    ("REVOKE other FROM helped", "role:other"),
    ("DROP OWNED BY other", ""),
    ("REASSIGN OWNED BY other TO app", ""),
    (
        "ALTER DEFAULT PRIVILEGES FOR ROLE other GRANT SELECT ON TABLES TO app",
        "",
    ),
    ("COPY (SELECT 1) TO PROGRAM 'true'", ""),
    ("COPY (SELECT 1) TO '/tmp/x'", ""),
    ("COPY iu.hidden_rows FROM '/etc/passwd'", ""),
    ("ALTER SYSTEM SET work_mem = '1MB'", "parameter:work_mem"),
    ("ALTER SYSTEM RESET ALL", ""),
    ("SET log_statement = 'none'", "parameter:log_statement"),
    (
        "SET session_replication_role = 'replica'",
        "parameter:session_replication_role",
    ),
    (
        "SELECT set_config('log_min_messages', 'panic', false)",
        "parameter:log_min_messages",
    ),
    ("SHOW data_directory", ""),
    ("CREATE DATABASE d", ""),
    ("ALTER DATABASE closed SET work_mem = '1MB'", "closed"),
    ("DROP DATABASE closed", "database:closed"),
    ("CREATE EXTENSION hstore", ""),
    ("CREATE EXTENSION adminpack", ""),
    (
        "CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "",
    ),
    (
        "CREATE SUBSCRIPTION s CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false)",
        "",
    ),
    ("CREATE TABLESPACE t LOCATION '/tmp'", ""),
    ("CREATE FOREIGN DATA WRAPPER w", ""),
    (
        "CREATE SERVER near FOREIGN DATA WRAPPER postgres_fdw",
        "fdw:postgres_fdw",
    ),
    ("CREATE USER MAPPING FOR app SERVER far", "far"),
    (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'bootstrap'",
        "",
    ),
    ("CHECKPOINT", ""),
    ("SELECT pg_create_physical_replication_slot('x')", ""),
    ("SELECT pg_drop_replication_slot('slot')", ""),
    ("LOAD 'auto_explain'", ""),
    ("SELECT pg_stat_reset()", "pg_stat_reset()"),
];

/// Statements of `helped`, which may SELECT from `iu.orders` and DELETE there, that look like a
/// denial; and why they prove none.
const FORGERIES: [(&str, &str); 8] = [
    (
        "DO $$ BEGIN RAISE insufficient_privilege USING MESSAGE = 'permission denied for table orders'; END $$",
        "DenialForged",
    ),
    (
        "SELECT iu.relay($s$ DO $$ BEGIN RAISE insufficient_privilege USING MESSAGE = 'permission denied for table orders'; END $$ $s$)",
        "DenialForged",
    ),
    (
        "DO $$ BEGIN INSERT INTO iu.orders VALUES (1); EXCEPTION WHEN insufficient_privilege THEN RAISE insufficient_privilege USING MESSAGE = SQLERRM; END $$",
        "DenialForged",
    ),
    (
        "CREATE TEMP TABLE orders (id int);; REVOKE ALL ON pg_temp.orders FROM helped;; DELETE FROM pg_temp.orders",
        "PrivilegeHeld",
    ),
    ("SET ROLE other;; DELETE FROM iu.orders", "PrivilegeHeld"),
    (
        "DO $$ BEGIN INSERT INTO iu.orders VALUES (1); EXCEPTION WHEN insufficient_privilege THEN NULL; END $$",
        "DenialMissing",
    ),
    ("SELECT * FROM hidden.t", "WrongObject"),
    ("DELETE FROM iu.ordres", "DenialMissing"),
];

/// A server, and the session of who judges.
struct World {
    server: Server,
    judge: Client,
    windows: u32,
    offset: u64,
}

impl World {
    async fn start(server: Server) -> Self {
        let judge = connect(&server, SUPERUSER, "postgres").await.unwrap();
        judge
            .batch_execute(include_str!("denials/world.sql"))
            .await
            .unwrap();
        for statement in [
            "CREATE DATABASE closed",
            "REVOKE CONNECT ON DATABASE closed FROM PUBLIC",
        ] {
            judge.batch_execute(statement).await.unwrap();
        }
        judge
            .batch_execute(include_str!("../sql/session.sql"))
            .await
            .unwrap();
        Self {
            server,
            judge,
            windows: 0,
            offset: 0,
        }
    }

    /// Runs statements, separated by `;; `, in a session of their own between two markers.
    async fn window(&mut self, login: &str, database: &str, statement: &str) -> LogWindow {
        self.windows += 1;
        let markers = Markers {
            begin: format!("begin {}", self.windows),
            end: format!("end {}", self.windows),
        };
        self.judge
            .batch_execute(&log::marker(&markers.begin))
            .await
            .unwrap();
        if let Ok(client) = connect(&self.server, login, database).await {
            for part in statement.split(";; ") {
                let _ = client.batch_execute(part).await;
            }
        }
        self.quiet(login).await;
        self.judge
            .batch_execute(&log::marker(&markers.end))
            .await
            .unwrap();
        let who = Who {
            login: login.to_owned(),
            roles: ["app", "helped"].map(str::to_owned).into(),
            operator: SUPERUSER.to_owned(),
        };
        let mut reader = WindowReader::new(self.offset, &markers, who);
        let begin = Instant::now();
        let file = self.log_file();
        // The collector writes from its own process; there is no signal when it has.
        while !reader.feed(&std::fs::read(&file).unwrap()[reader.next_offset() as usize..]) {
            assert!(begin.elapsed() < Duration::from_secs(30), "no end");
        }
        let window = reader.finish();
        self.offset = window.end_offset;
        window
    }

    fn log_file(&self) -> std::path::PathBuf {
        self.server.socket().join("data/log/server.json")
    }

    /// Waits until the login has no session.
    async fn quiet(&self, login: &str) {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1";
        while self
            .judge
            .query_one(query, &[&login])
            .await
            .unwrap()
            .get::<_, i64>(0)
            > 0
        {}
    }

    /// G-15 on a scenario of this one statement.
    async fn judged(
        &self,
        login: &str,
        statement: &str,
        object: &str,
        window: LogWindow,
    ) -> Verdict {
        let mut step = serde_json::json!({"sql": statement, "expect": {"sqlstate": "42501"}});
        if !object.is_empty() {
            step["expect"]["object"] = object.into();
        }
        let spec = spec(&serde_json::json!([
            {"name": "S1", "as": {"login": login}, "steps": [step], "unpaired": true},
        ]));
        let mut access = Vec::new();
        for denied in gate::denied_objects(&spec.harness.scenarios[0]) {
            let found = dryrun_postgres::access(&self.judge, login, &denied).await;
            access.extend(found.unwrap());
        }
        let facts = Facts {
            scenarios: vec![ScenarioFacts {
                window,
                access,
                ..ScenarioFacts::default()
            }],
            ..Facts::default()
        };
        let proven = gate::ALL.iter().find(|gate| gate.id == "G-15").unwrap();
        (proven.evaluate)(&Evidence {
            spec: &spec,
            facts: &facts,
            uid: "",
        })
    }
}

async fn connect(
    server: &Server,
    login: &str,
    database: &str,
) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = Config::new()
        .host_path(server.socket())
        .user(login)
        .dbname(database)
        .connect(NoTls)
        .await?;
    tokio::spawn(connection);
    Ok(client)
}

fn spec(scenarios: &serde_json::Value) -> DryRunSpec {
    serde_json::from_value(serde_json::json!({
        "requestedBy": "alice",
        "source": {
            "host": "postgres.incomex.svc", "user": "dump_ro", "database": "directus", "systemIdentifier": "7611578671664259111",
            "passwordSecretRef": {"name": "directus-production", "key": "password"},
            "network": {"namespace": "incomex", "podSelector": {"app": "postgres"}},
        },
        "postgres": {"image": "postgres:17", "storage": {"size": "2Gi", "minimumFree": "1Gi"}},
        "privileges": {"roles": {"app": {"login": true}, "helped": {"login": true}}},
        "harness": {"image": "python:3", "scenarios": scenarios},
        "isolation": {"outsideAddress": "192.0.2.1:443"},
        "verification": {"tables": []},
        "protected": [],
    }))
    .unwrap()
}

/// Runs the test against each installed version.
async fn everywhere(test: impl AsyncFn(&mut World)) {
    let mut run = 0;
    for programs in installations() {
        let server = Server::start(&programs, &PARAMETERS).unwrap();
        test(&mut World::start(server).await).await;
        run += 1;
    }
    if run == 0 {
        skip("no Postgres server is installed (Debian: postgresql)");
    }
}

#[tokio::test]
async fn all_that_the_server_denies_is_proven() {
    everywhere(async |world| {
        let mut failures = String::new();
        let mut judge = |statement: &str, verdict: &Verdict, window: &LogWindow| {
            if verdict.status != Status::True {
                let (reason, message) = (&verdict.reason, &verdict.message);
                writeln!(
                    failures,
                    "{statement}: {reason}: {message} {:?}",
                    window.errors
                )
                .unwrap();
            }
        };
        for (statement, object) in DENIALS {
            let window = world.window("app", "postgres", statement).await;
            assert_eq!(
                (window.unreadable, window.overflow, window.foreign.len()),
                (0, 0, 0),
                "{statement}: {window:?}"
            );
            let verdict = world.judged("app", statement, object, window.clone()).await;
            judge(statement, &verdict, &window);
        }
        let window = world.window("app", "closed", "").await;
        let verdict = world
            .judged("app", "connect", "database:closed", window.clone())
            .await;
        judge("connect", &verdict, &window);
        assert!(failures.is_empty(), "{failures}");
    })
    .await;
}

#[tokio::test]
async fn what_only_looks_like_a_denial_is_none() {
    everywhere(async |world| {
        for (statement, reason) in FORGERIES {
            let window = world.window("helped", "postgres", statement).await;
            let verdict = world
                .judged("helped", statement, "iu.orders", window.clone())
                .await;
            assert_eq!(
                (verdict.status, &*verdict.reason),
                (Status::False, reason),
                "{statement}: {} {window:?}",
                verdict.message
            );
        }
        // It is denied, and on no table of that name that the copy has.
        let window = world
            .window("app", "postgres", "DELETE FROM iu.orders")
            .await;
        let verdict = world
            .judged("app", "DELETE FROM iu.orders", "public.orders", window)
            .await;
        assert_eq!(verdict.reason, "ObjectUnknown");
    })
    .await;
}

/// Messages of a client are no crash, even if they read like one; a statement that is longer than
/// what is held of a line is one.
#[tokio::test]
async fn statements_say_nothing_of_the_server() {
    everywhere(async |world| {
        let words = "SELECT 'server process (PID 7) was terminated by signal 9: Killed'";
        let window = world.window("app", "postgres", words).await;
        assert_eq!((window.statements, window.foreign.len()), (1, 0));
        let long = format!("SELECT '{}'", "x".repeat(3 << 20));
        let window = world.window("app", "postgres", &long).await;
        assert_eq!(
            (
                window.sessions,
                window.statements,
                window.unreadable,
                window.overflow
            ),
            (1, 1, 0, 0)
        );
        let (mut lines, mut crashes) = (Lines::default(), Crashes::default());
        lines.feed(&std::fs::read(world.log_file()).unwrap(), |line| {
            if let Some(entry) = line.entry() {
                crashes.add(&entry);
            }
        });
        assert_eq!(crashes.finish(), Vec::<String>::new());
    })
    .await;
}
