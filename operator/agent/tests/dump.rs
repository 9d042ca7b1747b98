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
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};

use dryrun_core::{
    agent_api::{
        protocol::{Task, TaskResult},
        tasks::{IdentifyTask, Server},
    },
    api::SslMode,
    problem::Problem,
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

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_changes_meanwhile_gives_no_dump() {
    let Some(programs) = postgres() else { return };
    let world = World::new();
    let source = Production::start(&world, &programs, &[]).await;
    source.admin.batch_execute(RIGHTS).await.unwrap();
    let agent = Agent::start(&world);
    source
        .admin
        .batch_execute("BEGIN; LOCK TABLE iu.parent")
        .await
        .unwrap();
    // Not the session that holds the lock: within a transaction it sees the activity as it was.
    let watcher = connect(source.port, "postgres", PASSWORD, "directus").await;
    let change = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dryrun-dump' AND wait_event_type = 'Lock'";
        let start = Instant::now();
        while watcher
            .query_one(waiting, &[])
            .await
            .unwrap()
            .get::<_, i64>(0)
            == 0
        {
            assert!(start.elapsed() < DEADLINE, "the dump waits for the lock");
        }
        source
            .admin
            .batch_execute("ALTER TABLE iu.parent ADD y int; COMMIT")
            .await
            .unwrap();
    };
    let facts = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let dump = scope.spawn(|| {
                source.dump(&world, &agent, "changed", |task| {
                    task.lock_timeout_ms = 60_000
                })
            });
            Handle::current().block_on(change);
            dump.join().unwrap()
        })
    });
    let problem = facts.problem.unwrap();
    assert_eq!(
        (problem.reason.as_str(), problem.retry),
        ("SourceChangedDuringDump", true),
        "{problem}"
    );
    assert!(problem.message.contains("relation iu.parent"), "{problem}");
    assert!(facts.archive.is_none() && is_empty(&world.path("dump/1")));
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
    let dump = source.dump(&world, &agent, "dump", |task| {
        task.server.sslmode = SslMode::Require
    });
    assert_eq!(dump.problem, None);
}
