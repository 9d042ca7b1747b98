//! Taking a dump: what is checked before it, and what stops it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Instant,
};

use dryrun_core::{
    agent_api::{
        protocol::{Task, TaskResult},
        tasks::{IdentifyTask, Server},
    },
    api::{Authentication, SslMode},
    problem::Problem,
    run::facts::DumpFacts,
};
use support::{
    Agent, DEADLINE, PASSWORD, World, connect, eventually, postgres,
    production::{Production, RIGHTS},
};
use tokio::runtime::Handle;

fn reason(problem: Option<&Problem>) -> Option<&str> {
    problem.map(|problem| problem.reason.as_str())
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_least_privilege_dump_is_refused_with_every_missing_right_and_then_taken() {
    let Some(programs) = postgres() else { return };
    let world = World::new();
    let source = Production::start(&world, &programs, &[]).await;
    let agent = Agent::start(&world);
    let dump = world.path("dump/1");

    let other = source.dump(&world, &agent, "other", |task| {
        task.system_identifier = "1".into()
    });
    assert_eq!(reason(other.problem.as_ref()), Some("IdentityMismatch"));
    assert!(
        other.requirements.is_none() && other.rights.is_none(),
        "nothing else is read of a server that is not production"
    );

    let full = source.dump(&world, &agent, "full", |task| task.minimum_free = u64::MAX);
    assert_eq!(reason(full.problem.as_ref()), Some("InsufficientSpace"));
    assert!(full.disk.is_some_and(|disk| disk.free_bytes > 0) && full.identity.is_none());

    let without = source.dump(&world, &agent, "without", |_| {});
    assert_eq!(
        reason(without.problem.as_ref()),
        Some("MissingRights"),
        "{:?}",
        without.problem
    );
    let rights = without.rights.unwrap();
    let expected = [
        r#"GRANT USAGE ON SCHEMA iu TO dump_ro"#,
        r#"GRANT SELECT ON TABLE iu."odd ""name""", iu.child, iu.event, iu.event_2026, iu.parent, iu.private, iu.unit TO dump_ro"#,
        r#"GRANT SELECT ON SEQUENCE iu.parent_id_seq, iu.unit_id_seq TO dump_ro"#,
        r#"GRANT SELECT ON LARGE OBJECT 4242 TO dump_ro"#,
        r#"ALTER ROLE dump_ro BYPASSRLS"#,
    ];
    assert_eq!(rights.missing, expected);
    assert_eq!(rights.missing_count, 1 + 7 + 2 + 1 + 1);
    assert!(
        rights
            .writable
            .contains(&"TEMPORARY on the database".to_owned()),
        "{:?}",
        rights.writable
    );
    assert!(is_empty(&dump));

    source
        .admin
        .batch_execute(&rights.missing.join(";"))
        .await
        .unwrap();
    let taken = source.dump(&world, &agent, "taken", |_| {});
    assert_eq!(taken.problem, None);
    let sessions = taken.sessions.unwrap();
    assert!(sessions.read_only && !sessions.xid_assigned);
    assert!(
        sessions
            .dump_options
            .contains(&"--lock-wait-timeout=2000".to_owned()),
        "{:?}",
        sessions.dump_options
    );
    let archive = taken.archive.unwrap();
    assert_eq!(archive.rows, 1000 + 250 + 2 + 1 + 2);
    assert_eq!(
        archive.counts.rows, 6,
        "the partitioned table is counted by its partition"
    );
    assert!(archive.bytes > 0 && archive.pg_dump.contains("PostgreSQL"));
    // `readers` is referred to by nothing, but `app_reader` may have its rights through it.
    let expected = [
        "app_owner",
        "app_reader",
        "cutter_exec",
        "cutter_verify",
        "dump_ro",
        "postgres",
        "readers",
    ];
    assert_eq!(taken.roles, expected.map(str::to_owned).into());
    let rights: Vec<String> = taken
        .role_rights
        .iter()
        .map(|row| format!("{} {} {}", row.grantee, row.privilege, row.object))
        .collect();
    assert_eq!(
        rights,
        [
            "app_reader MEMBER INHERIT=true SET=true readers",
            "dump_ro BYPASSRLS=true dump_ro",
            "postgres BYPASSRLS=true postgres",
            "postgres CREATEDB=true postgres",
            "postgres CREATEROLE=true postgres",
            "postgres REPLICATION=true postgres",
            "postgres SUPERUSER=true postgres",
        ]
    );

    let again = source.dump(&world, &agent, "again", |_| {});
    assert_eq!(reason(again.problem.as_ref()), Some("DirectoryNotEmpty"));
    world.secret("production", "directus");
    let elsewhere = world.directory("elsewhere").display().to_string();
    let weak = source.dump(&world, &agent, "weak", |task| task.directory = elsewhere);
    assert_eq!(
        reason(weak.problem.as_ref()),
        Some("ConnectFailed"),
        "the server has another password"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_stops_the_dump_and_leaves_nothing() {
    let Some(programs) = postgres() else { return };
    let world = World::new();
    let source = Production::start(&world, &programs, &[]).await;
    source.admin.batch_execute(RIGHTS).await.unwrap();
    let agent = Agent::start(&world);
    source
        .admin
        .batch_execute("BEGIN; LOCK TABLE iu.\"odd \"\"name\"\"\" IN ROW EXCLUSIVE MODE")
        .await
        .unwrap();
    let mut other = connect(source.port, "postgres", PASSWORD, "directus").await;
    let waits = other.transaction().await.unwrap();
    waits.batch_execute("LOCK TABLE iu.parent").await.unwrap();
    let facts = tokio::task::block_in_place(|| {
        source.dump(&world, &agent, "locked", |task| task.lock_timeout_ms = 300)
    });
    let problem = facts.problem.unwrap();
    assert_eq!(
        (problem.reason.as_str(), problem.retry),
        ("SourceLocked", true),
        "{problem}"
    );
    assert!(is_empty(&world.path("dump/1")));
}

/// pg_dump prints no SQLSTATE when the server refuses one of its connections.
#[tokio::test(flavor = "multi_thread")]
async fn a_dump_waits_for_connections_that_others_have() {
    let Some(programs) = postgres() else { return };
    let world = World::new();
    let source = Production::start(&world, &programs, &[]).await;
    source.admin.batch_execute(RIGHTS).await.unwrap();
    // Enough for the agent's sessions and pg_dump's first one.
    let limit = "ALTER ROLE dump_ro CONNECTION LIMIT 3";
    source.admin.batch_execute(limit).await.unwrap();
    let agent = Agent::start(&world);
    let facts = tokio::task::block_in_place(|| source.dump(&world, &agent, "full", |_| ()));
    let problem = facts.problem.unwrap();
    assert_eq!(
        (problem.reason.as_str(), problem.retry),
        ("TooManyConnections", true),
        "{problem}"
    );
    assert!(is_empty(&world.path("dump/1")));
}

/// Takes a dump, and lets `change` happen to production after the snapshot and before pg_dump has
/// its locks.
async fn dump_amid(
    world: &World,
    source: &Production,
    agent: &Agent,
    id: &str,
    change: &str,
) -> DumpFacts {
    // A table without defaults: the catalog query opens those that have some.
    let lock = r#"BEGIN; LOCK TABLE iu."odd ""name""""#;
    source.admin.batch_execute(lock).await.unwrap();
    // Not the session that holds the lock: within a transaction it sees the activity as it was.
    let watcher = connect(source.port, "postgres", PASSWORD, "directus").await;
    let change = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dryrun-dump'
            AND wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE%'";
        let start = Instant::now();
        while watcher
            .query_one(waiting, &[])
            .await
            .unwrap()
            .get::<_, i64>(0)
            == 0
        {
            assert!(
                start.elapsed() < DEADLINE,
                "the dump {id} waits for the lock"
            );
        }
        let change = format!("{change}; COMMIT");
        source.admin.batch_execute(&change).await.unwrap();
    };
    let directory = world.path("dump").join(id).display().to_string();
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let dump = scope.spawn(|| {
                source.dump(world, agent, id, |task| {
                    task.lock_timeout_ms = 60_000;
                    task.directory = directory;
                })
            });
            Handle::current().block_on(change);
            dump.join().unwrap()
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_after_the_snapshot_count_only_if_the_dump_has_them() {
    let Some(programs) = postgres() else { return };
    let world = World::new();
    let source = Production::start(&world, &programs, &[]).await;
    source.admin.batch_execute(RIGHTS).await.unwrap();
    let agent = Agent::start(&world);

    // Not CREATE TABLE … PARTITION OF, which would wait for pg_dump.
    let new = "CREATE TABLE iu.event_2027 (LIKE iu.event);
        ALTER TABLE iu.event ATTACH PARTITION iu.event_2027
            FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
        GRANT SELECT ON iu.event_2027 TO dump_ro;
        ALTER TABLE iu.\"odd \"\"name\"\"\" ADD y int";
    let facts = dump_amid(&world, &source, &agent, "new", new).await;
    assert_eq!(facts.problem, None);
    assert_eq!(facts.archive.unwrap().counts.rows, 6);

    // Postgres prints a function as it is now; a TRUNCATE is visible to every session.
    let function = "CREATE OR REPLACE FUNCTION iu.touch() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN RETURN NULL; END'";
    for (id, change, what) in [
        ("function", function, "routine iu.touch()"),
        ("truncate", r#"TRUNCATE iu."odd ""name""""#, "odd"),
    ] {
        let facts = dump_amid(&world, &source, &agent, id, change).await;
        let Some(problem) = facts.problem else {
            panic!("{what} was changed and is in the dump");
        };
        assert_eq!(
            (problem.reason.as_str(), problem.retry),
            ("SourceChangedDuringDump", true),
            "{problem}"
        );
        assert!(problem.message.contains(what), "{problem}");
        assert!(facts.archive.is_none() && is_empty(&world.path("dump").join(id)));
    }
}

/// 3,000 tables with four indexes each have 15,000 relations, more than twice what the lock table
/// of a server with default settings holds. Tables are named as the counting orders them.
const MANY: &str = "DO $$ BEGIN
    FOR i IN 1..100 LOOP
      EXECUTE format('CREATE TABLE many.t%s (id int PRIMARY KEY, a int, b int, c int)', $1 + i);
      EXECUTE format('CREATE INDEX ON many.t%s (a)', $1 + i);
      EXECUTE format('CREATE INDEX ON many.t%s (b)', $1 + i);
      EXECUTE format('CREATE INDEX ON many.t%s (c)', $1 + i);
      EXECUTE format('INSERT INTO many.t%s VALUES (1, 1, 1, 1)', $1 + i);
    END LOOP; END $$";

#[tokio::test(flavor = "multi_thread")]
async fn other_clients_keep_their_share_of_the_lock_table() {
    let Some(programs) = postgres() else { return };
    let world = World::new();
    let settings = ["max_locks_per_transaction=64", "max_connections=100"];
    let source = Production::start(&world, &programs, &settings).await;
    source.admin.batch_execute(RIGHTS).await.unwrap();
    let schema = "CREATE SCHEMA many";
    source.admin.batch_execute(schema).await.unwrap();
    // A hundred tables a transaction: creating them takes locks as well.
    for hundred in 0..30 {
        let tables = MANY.replace("$1", &(1000 + hundred * 100).to_string());
        source.admin.batch_execute(&tables).await.unwrap();
    }
    let grant = "GRANT USAGE ON SCHEMA many TO dump_ro;
        GRANT SELECT ON ALL TABLES IN SCHEMA many TO dump_ro";
    source.admin.batch_execute(grant).await.unwrap();
    let agent = Agent::start(&world);
    let update = "DO $$ BEGIN
        FOR i IN 3001..3100 LOOP EXECUTE format('UPDATE many.t%s SET a = a + 1', i); END LOOP;
        END $$";
    let ended = AtomicBool::new(false);
    let updates = async {
        let mut count = 0;
        while !ended.load(Ordering::Relaxed) {
            source.admin.batch_execute(update).await.unwrap();
            count += 1;
        }
        count
    };
    let (facts, count) = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let dump = scope.spawn(|| {
                let facts = source.dump(&world, &agent, "many", |_| {});
                ended.store(true, Ordering::Relaxed);
                facts
            });
            let count: u32 = Handle::current().block_on(updates);
            (dump.join().unwrap(), count)
        })
    });
    assert_eq!(facts.problem, None);
    assert_eq!(facts.archive.unwrap().counts.rows, 3006);
    let locks = facts.locks.unwrap();
    assert!(locks.needed > 3000 && locks.capacity() == 6400, "{locks:?}");
    assert!(count > 10, "{count} updates while the dump was taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_table_without_room_is_left_alone() {
    let Some(programs) = postgres() else { return };
    let world = World::new();
    let settings = ["max_locks_per_transaction=10", "max_connections=20"];
    let source = Production::start(&world, &programs, &settings).await;
    source.admin.batch_execute(RIGHTS).await.unwrap();
    let agent = Agent::start(&world);
    let facts = source.dump(&world, &agent, "small", |_| {});
    let problem = facts.problem.unwrap();
    assert_eq!(
        (problem.reason.as_str(), problem.retry),
        ("LockTableTooSmall", false)
    );
    assert!(problem.message.contains("of 200 in all"), "{problem}");
    let locks = facts.locks.unwrap();
    assert!(facts.sessions.is_none() && is_empty(&world.path("dump/1")));

    // The numbers are those that help.
    let wanted = format!("max_locks_per_transaction={}", locks.per_slot_wanted() + 1);
    drop(source);
    let world = World::new();
    let source = Production::start(&world, &programs, &[&wanted, settings[1]]).await;
    source.admin.batch_execute(RIGHTS).await.unwrap();
    let agent = Agent::start(&world);
    let facts = source.dump(&world, &agent, "larger", |_| {});
    assert_eq!(facts.problem, None);
}

/// Code of a table's owner that the planner or a scan could run.
const OWNERS_CODE: &str = "
    CREATE FUNCTION iu.mine(x int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
      IF session_user = 'dump_ro' THEN RAISE 'run by the dump role'; END IF;
      RETURN x; END $$;
    CREATE DOMAIN iu.checked AS int CHECK (iu.mine(VALUE) > 0);
    CREATE TABLE iu.expression (n int, t text DEFAULT E'two\nlines');
    CREATE INDEX ON iu.expression ((n + iu.mine(1)));
    CREATE TABLE iu.predicate (t text DEFAULT E'\\two\nlines');
    CREATE INDEX ON iu.predicate (t) WHERE iu.mine(1) > 0;
    CREATE TABLE iu.statistic (n int, g int GENERATED ALWAYS AS (n + 1) STORED);
    CREATE STATISTICS iu.expression_statistics ON (n + iu.mine(1)), n FROM iu.statistic;
    CREATE TABLE iu.domain (n int);
    CREATE INDEX ON iu.domain ((n + 1::iu.checked));
    CREATE TABLE iu.policy (n int);
    CREATE POLICY mine ON iu.policy USING (iu.mine(1) = n);
    ALTER TABLE iu.policy ENABLE ROW LEVEL SECURITY;
    INSERT INTO iu.expression SELECT n FROM generate_series(1, 1000) n;
    INSERT INTO iu.predicate SELECT FROM generate_series(1, 10);
    INSERT INTO iu.statistic SELECT n FROM generate_series(1, 100) n;
    INSERT INTO iu.policy VALUES (1), (2);";

#[tokio::test(flavor = "multi_thread")]
async fn no_code_of_an_owner_runs_as_the_dump_role() {
    let Some(programs) = postgres() else { return };
    let world = World::new();
    let source = Production::start(&world, &programs, &[]).await;
    source.admin.batch_execute(OWNERS_CODE).await.unwrap();
    source.admin.batch_execute(RIGHTS).await.unwrap();
    let agent = Agent::start(&world);
    let facts = source.dump(&world, &agent, "code", |_| {});
    assert_eq!(facts.problem, None);
    let counts = fs::read_to_string(world.path("dump/1/counts.tsv")).unwrap();
    for count in [
        "iu.expression\t1000\n",
        "iu.predicate\t10\n",
        "iu.statistic\t100\n",
        "iu.domain\t0\n",
        "iu.policy\t2\n",
    ] {
        assert!(counts.contains(count), "{count:?} in {counts}");
    }
}

/// A server that tries to learn the password: it requests it with this method, and returns what it
/// received.
fn curious(request: &'static [u8]) -> (u16, std::sync::mpsc::Receiver<Vec<u8>>) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut heard = Vec::new();
            let mut buffer = [0; 4096];
            // The SSLRequest is denied, the start-up message answered; what comes then is the
            // password.
            for answer in [b"N".as_slice(), request] {
                let Ok(read) = stream.read(&mut buffer) else {
                    break;
                };
                // Without TLS there is no SSLRequest.
                let is_start = read != 8;
                let answer = if is_start { request } else { answer };
                if stream.write_all(answer).is_err() || is_start {
                    break;
                }
            }
            if let Ok(read @ 1..) = stream.read(&mut buffer) {
                heard.extend_from_slice(&buffer[..read]);
                let said = String::from_utf8_lossy(&heard).replace(char::is_control, "");
                let fields = format!("SFATAL\0VFATAL\0C28P01\0Myou said {said}\0\0");
                let length = (fields.len() as u32 + 4).to_be_bytes();
                let error = [b"E", &length[..], fields.as_bytes()].concat();
                let _ = stream.write_all(&error);
            }
            let _ = tell.send(heard);
        }
    });
    (port, told)
}

const CLEAR_TEXT: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
const MD5: &[u8] = b"R\0\0\0\x0c\0\0\0\x05salt";
const TRUST: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";

fn somewhere(port: u16, sslmode: SslMode, authentication: Authentication) -> Server {
    Server {
        host: "curious.example".into(),
        address: "127.0.0.1".into(),
        port,
        user: "dump_ro".into(),
        database: "directus".into(),
        sslmode,
        authentication,
        ca_file: None,
        password_file: "production".into(),
    }
}

#[test]
fn a_server_that_asks_for_the_password_does_not_get_it() {
    let world = World::new();
    world.secret("production", PASSWORD);
    let agent = Agent::start(&world);
    for (n, (request, said)) in [
        (CLEAR_TEXT, "asks for the password in clear text"),
        (MD5, "asks for the password's md5 hash"),
        (TRUST, "without a proof that it knows the password"),
    ]
    .into_iter()
    .enumerate()
    {
        for (mode, connections) in [(SslMode::Disable, 1), (SslMode::Prefer, 2)] {
            let (port, told) = curious(request);
            let server = somewhere(port, mode, Authentication::ScramSha256);
            let id = format!("curious-{n}-{}", mode.as_libpq());
            let TaskResult::Failed(problem) =
                agent.run(&id, &Task::Identify(IdentifyTask { server }))
            else {
                panic!("{id} found a server");
            };
            assert_eq!(problem.reason, "ConnectFailed");
            assert!(problem.message.contains(said), "{id}: {problem}");
            assert!(!problem.retry, "{problem}");
            let heard: Vec<u8> = told.iter().take(connections).flatten().collect();
            assert!(!contains(&heard, PASSWORD), "{id}: {heard:?}");
        }
    }
    // A mode that asks for TLS gives nothing to a server that has none.
    for mode in [SslMode::Require, SslMode::VerifyFull] {
        let (port, told) = curious(CLEAR_TEXT);
        let server = somewhere(port, mode, Authentication::Any);
        let id = format!("without-{}", mode.as_libpq());
        let TaskResult::Failed(problem) = agent.run(&id, &Task::Identify(IdentifyTask { server }))
        else {
            panic!("{id} found a server");
        };
        assert!(problem.message.contains("does not offer TLS"), "{problem}");
        assert!(told.recv().unwrap().is_empty());
    }
}

/// A plan may allow it. What the server makes of the password is not repeated even then.
#[test]
fn no_word_of_a_server_that_is_not_known_is_repeated() {
    let world = World::new();
    world.secret("production", PASSWORD);
    let agent = Agent::start(&world);
    let (port, told) = curious(CLEAR_TEXT);
    let server = somewhere(port, SslMode::Disable, Authentication::Any);
    let TaskResult::Failed(problem) = agent.run("any", &Task::Identify(IdentifyTask { server }))
    else {
        panic!("it found a server");
    };
    assert!(
        contains(&told.recv().unwrap(), PASSWORD),
        "the plan allowed it"
    );
    assert!(
        problem.message.contains("it does not let the role in"),
        "{problem}"
    );
    assert!(problem.message.contains("28P01"), "{problem}");
    assert!(!problem.message.contains("you said"), "{problem}");
    assert!(!problem.message.contains(PASSWORD), "{problem}");
}

fn contains(heard: &[u8], text: &str) -> bool {
    heard
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_wants_tls_gets_it() {
    let Some(programs) = postgres() else { return };
    let world = World::new();
    let certificate =
        rcgen::generate_simple_self_signed(["production.example".to_owned()]).unwrap();
    world.secret("server.crt", &certificate.cert.pem());
    world.secret("server.key", &certificate.signing_key.serialize_pem());
    let settings = [
        "ssl=on",
        &format!(
            "ssl_cert_file={}",
            world.path("secrets/server.crt").display()
        ),
        &format!(
            "ssl_key_file={}",
            world.path("secrets/server.key").display()
        ),
    ];
    let source = Production::start(&world, &programs, &settings).await;
    source.admin.batch_execute(RIGHTS).await.unwrap();
    fs::write(
        world.path("production/pg_hba.conf"),
        "hostssl all dump_ro all scram-sha-256\n",
    )
    .unwrap();
    source
        .admin
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
    let agent = Agent::start(&world);
    let identify = |id: &str, sslmode| {
        agent.run(
            id,
            &Task::Identify(IdentifyTask {
                server: Server {
                    sslmode,
                    ..source.server()
                },
            }),
        )
    };
    // The reload takes effect in the server's own time.
    eventually("the server refuses sessions without TLS", || {
        static TRY: AtomicU32 = AtomicU32::new(0);
        let id = format!("plain-{}", TRY.fetch_add(1, Ordering::Relaxed));
        matches!(identify(&id, SslMode::Disable), TaskResult::Failed(error) if error.reason == "ConnectFailed").then_some(())
    });
    assert!(matches!(
        identify("prefer", SslMode::Prefer),
        TaskResult::Identify(_)
    ));
    assert!(matches!(
        identify("require", SslMode::Require),
        TaskResult::Identify(_)
    ));
    assert!(
        matches!(
            identify("verify", SslMode::VerifyFull),
            TaskResult::Failed(_)
        ),
        "nobody knows who signed this certificate"
    );
    // The certificate is its own authority here.
    let verify = |id: &str, host: &str| {
        let server = Server {
            host: host.into(),
            sslmode: SslMode::VerifyFull,
            ca_file: Some("server.crt".into()),
            ..source.server()
        };
        agent.run(id, &Task::Identify(IdentifyTask { server }))
    };
    assert!(matches!(
        verify("authority", "production.example"),
        TaskResult::Identify(_)
    ));
    let TaskResult::Failed(other) = verify("other-name", "other.example") else {
        panic!("the certificate is for another host");
    };
    assert!(
        !other.message.contains("production.example"),
        "the server's words: {other}"
    );
    let dump = source.dump(&world, &agent, "verified-dump", |task| {
        task.server.sslmode = SslMode::VerifyFull;
        task.server.ca_file = Some("server.crt".into());
        task.directory = world.path("dump/verified").display().to_string();
    });
    assert_eq!(
        dump.problem, None,
        "pg_dump verifies with the same authority"
    );
    let dump = source.dump(&world, &agent, "dump", |task| {
        task.server.sslmode = SslMode::Require
    });
    assert_eq!(dump.problem, None);
}
