//! Dump, server, restore and SQL steps against real servers: production is one of its own, the copy is started by `dryrun-agent postgres`.

mod support;

use std::{fs, path::Path, process::Command, process::Stdio};

use dryrun_core::{
    api::{SqlExpectation, SqlStep, SslMode},
    control::{DumpTask, IdentifyTask, Login, PostgresConfig, RestoreClaim, RestoreTask, Server, SqlTask, Task, TaskError, TaskResult},
    facts::{DumpFacts, SourceRequirements, StepClaim},
    sql,
};
use support::{Agent, Process, World, connect, free_port, postgres};
use tokio_postgres::Client;

const PASSWORD: &str = "Zk4mQ9xT2bV7nL8pR3wY6cJ1hG5sDfA0";
/// What the dump role needs in the world of `source.sql`, and gets only when a test says so.
const RIGHTS: &str = "GRANT USAGE ON SCHEMA iu TO dump_ro; GRANT SELECT ON ALL TABLES IN SCHEMA iu TO dump_ro; \
    GRANT SELECT ON ALL SEQUENCES IN SCHEMA iu TO dump_ro; GRANT SELECT ON LARGE OBJECT 4242 TO dump_ro; ALTER ROLE dump_ro BYPASSRLS";

/// A running production.
struct Source {
    _process: Process,
    port: u16,
    admin: Client,
    identifier: String,
}

impl Source {
    async fn start(world: &World, programs: &Path) -> Self {
        world.secret("admin", PASSWORD);
        world.secret("production", PASSWORD);
        let initdb = world
            .command(programs.join("initdb"))
            .args(["-D", "production", "-U", "postgres", "--pwfile", "secrets/admin", "--auth=scram-sha-256", "--locale=C.UTF-8", "--no-sync"])
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(initdb.success());
        let port = free_port();
        let process = world
            .command(programs.join("postgres"))
            .args(["-D", "production", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off", "-c"])
            .arg(format!("port={port}"))
            .stderr(fs::File::create(world.path("production.log")).unwrap())
            .spawn()
            .unwrap();
        let server = connect(port, "postgres", PASSWORD, "postgres").await;
        for role in ["app_owner NOLOGIN", "app_reader NOLOGIN", "cutter_exec LOGIN", "cutter_verify LOGIN", "readers NOLOGIN"] {
            server.batch_execute(&format!("CREATE ROLE {role}")).await.unwrap();
        }
        server.batch_execute(&format!("CREATE ROLE dump_ro LOGIN PASSWORD '{PASSWORD}'; GRANT readers TO app_reader")).await.unwrap();
        server.batch_execute("CREATE DATABASE directus OWNER app_owner").await.unwrap();
        let admin = connect(port, "postgres", PASSWORD, "directus").await;
        admin.batch_execute(include_str!("source.sql")).await.unwrap();
        let identifier = admin.query_one(sql::IDENTITY, &[]).await.unwrap().get("system_identifier");
        Self { _process: Process(process), port, admin, identifier: sql::system_identifier(identifier) }
    }

    fn server(&self) -> Server {
        Server {
            host: "production.example".into(),
            address: "127.0.0.1".into(),
            port: self.port,
            user: "dump_ro".into(),
            database: "directus".into(),
            sslmode: SslMode::Prefer,
            password_file: "production".into(),
        }
    }

    fn dump(&self, world: &World, agent: &Agent, id: &str, change: impl FnOnce(&mut DumpTask)) -> DumpFacts {
        let mut task = DumpTask {
            server: self.server(),
            jobs: 2,
            lock_timeout_ms: 2000,
            system_identifier: self.identifier.clone(),
            directory: world.directory("dump").display().to_string(),
            data_directory: world.path("").display().to_string(),
            minimum_free: 1 << 20,
        };
        change(&mut task);
        match agent.run(id, &Task::Dump(task)) {
            TaskResult::Dump(facts) => facts,
            other => panic!("{other:?}"),
        }
    }
}

fn reason(problem: Option<&TaskError>) -> Option<&str> {
    problem.map(|problem| problem.reason.as_str())
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

/// Starts the copy as its container would, or gives the process that refused.
fn start_copy(world: &World, source: &Source, requirements: SourceRequirements) -> (Process, PostgresConfig) {
    world.secret("superuser", PASSWORD);
    let config = PostgresConfig {
        run_uid: "0a1b2c3d-0000-4000-8000-000000000000".into(),
        bootstrap_role: "dryrun_0a1b2c3d".into(),
        restore_role: Some("dryrun_0a1b2c3d_restore".into()),
        database: "directus".into(),
        roles: vec!["cutter_exec".into(), "cutter_verify".into(), "cutter_ro".into()],
        data_directory: world.path("pgdata").display().to_string(),
        log_directory: world.path("server").display().to_string(),
        listen_addresses: "127.0.0.1".into(),
        port: free_port(),
        max_connections: 20,
        shared_buffers: 32 << 20,
        forbidden_system_identifier: source.identifier.clone(),
        requirements,
    };
    let log = fs::File::create(world.path("termination-log")).unwrap();
    std::os::unix::fs::fchown(&log, Some(fs::metadata(world.path("agent")).map(|_| owner(world)).unwrap()), None).unwrap();
    let process = world
        .command(world.path("agent"))
        .args(["postgres", "--termination-log", "termination-log", "--secrets"])
        .arg(world.path("secrets"))
        .env("DRYRUN_POSTGRES", serde_json::to_string(&config).unwrap())
        .spawn()
        .unwrap();
    (Process(process), config)
}

fn owner(world: &World) -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(world.path("secrets")).unwrap().uid()
}

fn restore(source: &Source, agent: &Agent, id: &str, config: &PostgresConfig, world: &World, digest: &str) -> TaskResult {
    agent.run(
        id,
        &Task::Restore(RestoreTask {
            server: Server {
                host: "copy".into(),
                address: "127.0.0.1".into(),
                port: config.port,
                user: config.restore_role.clone().unwrap(),
                database: "postgres".into(),
                sslmode: SslMode::Disable,
                password_file: "superuser".into(),
            },
            database: "directus".into(),
            jobs: 2,
            directory: world.path("dump").display().to_string(),
            dump_digest: digest.into(),
            forbidden_system_identifier: source.identifier.clone(),
        }),
    )
}

fn step(sql: &str) -> SqlStep {
    SqlStep { sql: sql.into(), expect: SqlExpectation::default() }
}

fn steps(agent: &Agent, id: &str, port: u16, user: &str, password: &str, sql: &[&str]) -> Vec<(String, u64)> {
    let task = SqlTask {
        name: id.into(),
        steps: sql.iter().map(|sql| step(sql)).collect(),
        login: Login { address: "127.0.0.1".into(), port, database: "directus".into(), user: user.into(), password: password.into() },
        timeout_ms: 10_000,
    };
    match agent.run(id, &Task::RunSql(task)) {
        TaskResult::Scenario(claim) => claim.steps.into_iter().map(|StepClaim { sqlstate, rows }| (sqlstate, rows)).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_least_privilege_dump_is_refused_with_every_missing_right_and_then_taken() {
    let Some(programs) = postgres() else { return };
    let world = World::new();
    let source = Source::start(&world, &programs).await;
    let agent = Agent::start(&world);
    let dump = world.directory("dump");

    let other = source.dump(&world, &agent, "other", |task| task.system_identifier = "1".into());
    assert_eq!(reason(other.problem.as_ref()), Some("IdentityMismatch"));
    assert!(other.requirements.is_none() && other.rights.is_none(), "nothing else is read of a server that is not production");

    let full = source.dump(&world, &agent, "full", |task| task.minimum_free = u64::MAX);
    assert_eq!(reason(full.problem.as_ref()), Some("InsufficientSpace"));
    assert!(full.disk.is_some_and(|disk| disk.free_bytes > 0) && full.identity.is_none());

    let without = source.dump(&world, &agent, "without", |_| {});
    assert_eq!(reason(without.problem.as_ref()), Some("MissingRights"), "{:?}", without.problem);
    let rights = without.rights.unwrap();
    // The schema, 8 tables, 2 sequences, the large object; row security cannot be judged before the table can be read.
    let expected = [
        r#"GRANT USAGE ON SCHEMA iu TO dump_ro"#,
        r#"GRANT SELECT ON TABLE iu."odd ""name""", iu.child, iu.event, iu.event_2026, iu.parent, iu.private, iu.unit TO dump_ro"#,
        r#"GRANT SELECT ON SEQUENCE iu.parent_id_seq, iu.unit_id_seq TO dump_ro"#,
        r#"GRANT SELECT ON LARGE OBJECT 4242 TO dump_ro"#,
        r#"ALTER ROLE dump_ro BYPASSRLS"#,
    ];
    assert_eq!(rights.missing, expected);
    assert_eq!(rights.missing_count, 1 + 7 + 2 + 1 + 1);
    assert!(rights.writable.contains(&"TEMPORARY on the database".to_owned()), "{:?}", rights.writable);
    assert!(is_empty(&dump));

    source.admin.batch_execute(&rights.missing.join(";")).await.unwrap();
    let taken = source.dump(&world, &agent, "taken", |_| {});
    assert_eq!(taken.problem, None);
    let sessions = taken.sessions.unwrap();
    assert!(sessions.read_only && !sessions.xid_assigned);
    assert!(sessions.dump_options.contains(&"--lock-wait-timeout=2000".to_owned()), "{:?}", sessions.dump_options);
    let archive = taken.archive.unwrap();
    assert_eq!(archive.rows, 1000 + 250 + 2 + 1 + 2);
    assert_eq!(archive.counts.rows, 6, "the partitioned table is counted by its partition");
    assert!(archive.bytes > 0 && archive.pg_dump.contains("PostgreSQL"));
    let names: Vec<_> = taken.roles.iter().map(|role| (role.name.as_str(), role.bootstrap)).collect();
    // `readers` is referred to by nothing, but `app_reader` may have its rights through it.
    let expected = ["app_owner", "app_reader", "cutter_exec", "cutter_verify", "dump_ro", "postgres", "readers"].map(|name| (name, name == "postgres"));
    assert_eq!(names, expected);
    assert_eq!(taken.memberships, [("readers".to_owned(), "app_reader".to_owned())]);

    let again = source.dump(&world, &agent, "again", |_| {});
    assert_eq!(reason(again.problem.as_ref()), Some("DirectoryNotEmpty"));
    world.secret("production", "directus");
    let elsewhere = world.directory("elsewhere").display().to_string();
    let weak = source.dump(&world, &agent, "weak", |task| task.directory = elsewhere);
    assert_eq!(reason(weak.problem.as_ref()), Some("ConnectFailed"), "the server has another password");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_stops_the_dump_and_leaves_nothing() {
    let Some(programs) = postgres() else { return };
    let world = World::new();
    let source = Source::start(&world, &programs).await;
    source.admin.batch_execute(RIGHTS).await.unwrap();
    let agent = Agent::start(&world);
    source.admin.batch_execute("BEGIN; LOCK TABLE iu.\"odd \"\"name\"\"\" IN ROW EXCLUSIVE MODE").await.unwrap();
    let mut other = connect(source.port, "postgres", PASSWORD, "directus").await;
    let waits = other.transaction().await.unwrap();
    waits.batch_execute("LOCK TABLE iu.parent").await.unwrap();
    let facts = tokio::task::block_in_place(|| source.dump(&world, &agent, "locked", |task| task.lock_timeout_ms = 300));
    let problem = facts.problem.unwrap();
    assert_eq!((problem.reason.as_str(), problem.transient), ("SourceLocked", true), "{problem}");
    assert!(is_empty(&world.path("dump")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_restored_equal_and_judged_by_its_own_checks() {
    let Some(programs) = postgres() else { return };
    let world = World::new();
    let source = Source::start(&world, &programs).await;
    source.admin.batch_execute(RIGHTS).await.unwrap();
    let agent = Agent::start(&world);
    let dump = source.dump(&world, &agent, "dump", |_| {});
    assert_eq!(dump.problem, None);
    let archive = dump.archive.unwrap();

    let (_copy, config) = start_copy(&world, &source, dump.requirements.unwrap());
    let operator = connect(config.port, &config.bootstrap_role, PASSWORD, "postgres").await;
    let restorer = config.restore_role.as_deref().unwrap();
    operator.batch_execute(&format!("CREATE ROLE {restorer} LOGIN SUPERUSER PASSWORD '{PASSWORD}'")).await.unwrap();
    for role in &dump.roles {
        operator.batch_execute(&format!("CREATE ROLE {}", sql::identifier(&role.name))).await.unwrap();
    }

    // Not with production's identifier, and not with another dump.
    let mut forbidden = source.server();
    forbidden.user = "x".into();
    let identifier = operator.query_one(sql::IDENTITY, &[]).await.unwrap();
    let copy_identifier = sql::system_identifier(identifier.get("system_identifier"));
    assert_eq!(identifier.get::<_, &str>("cluster_name"), config.run_uid);
    let pretended = Source { identifier: copy_identifier.clone(), ..source };
    assert!(matches!(restore(&pretended, &agent, "same", &config, &world, &archive.digest), TaskResult::Failed(e) if e.reason == "CopyIsProduction"));
    let source = Source { identifier: config.forbidden_system_identifier.clone(), ..pretended };
    assert!(matches!(restore(&source, &agent, "changed", &config, &world, "sha256:0"), TaskResult::Failed(e) if e.reason == "DumpChanged"));

    let claim = match restore(&source, &agent, "restore", &config, &world, &archive.digest) {
        TaskResult::Restore(claim) => claim,
        other => panic!("{other:?}"),
    };
    let RestoreClaim { exit_code, errors, error_lines, copy, .. } = claim;
    assert_eq!((exit_code, error_lines, &errors), (0, 0, &vec![]));
    assert_eq!(copy.counts, archive.counts);
    assert_eq!(copy.counts_difference.rows, 0);
    assert_eq!(copy.catalog.rows, archive.catalog.rows);
    assert_ne!(copy.catalog, archive.catalog, "some definitions are printed differently after a restore");
    assert_eq!(copy.catalog_difference.rows, 0, "{:?}", copy.catalog_difference);
    assert_eq!(copy.system_identifiers, [copy_identifier.clone(), copy_identifier]);
    let left = operator.query("SELECT datname::text FROM pg_database WHERE datname ~ 'scratch'", &[]).await.unwrap();
    assert!(left.is_empty());

    let database = connect(config.port, &config.bootstrap_role, PASSWORD, "directus").await;
    let mappings: i64 = database.query_one("SELECT count(*) FROM pg_user_mappings", &[]).await.unwrap().get(0);
    assert_eq!(mappings, 0, "user mappings hold passwords");
    for role in ["cutter_exec", "cutter_verify"] {
        database.batch_execute(&format!("ALTER ROLE {role} LOGIN PASSWORD '{PASSWORD}'")).await.unwrap();
    }
    database.batch_execute(&format!("CREATE ROLE cutter_ro PASSWORD '{PASSWORD}'; ALTER ROLE cutter_verify CONNECTION LIMIT 0")).await.unwrap();
    let ran = steps(
        &agent,
        "S1",
        config.port,
        "cutter_exec",
        PASSWORD,
        &[
            "SELECT slug FROM iu.unit LIMIT 3",
            "INSERT INTO iu.unit (slug, note) VALUES ('x', 'y'); SELECT nope",
            "INSERT INTO iu.unit (slug, note) VALUES ('x', 'y')",
            "DELETE FROM iu.unit",
            "SELECT count(*) FROM iu.unit",
        ],
    );
    let expected = [("00000", 3), ("42703", 0), ("00000", 1), ("42501", 0), ("00000", 1)].map(|(state, rows)| (state.to_owned(), rows));
    assert_eq!(ran, expected);
    let refused = |id: &str, user: &str, password: &str| steps(&agent, id, config.port, user, password, &["SELECT 1", "SELECT 2"]);
    assert_eq!(refused("S7", "cutter_verify", PASSWORD), vec![("53300".to_owned(), 0); 2]);
    assert_eq!(refused("S11", "cutter_ro", PASSWORD), vec![("28000".to_owned(), 0); 2]);
    assert_eq!(refused("wrong", "cutter_exec", "wrong"), vec![("28P01".to_owned(), 0); 2]);
    assert_eq!(refused("stranger", "app_owner", PASSWORD), vec![("28000".to_owned(), 0); 2]);

    let log = fs::read_to_string(world.path("server/server.json")).unwrap();
    assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    assert!(log.contains(r#""func_name":"aclcheck_error""#), "a denial names the server's own check");
    assert!(!log.contains("mapping-secret"));

    let identified = agent.run("identify", &Task::Identify(IdentifyTask { server: source.server() }));
    assert!(matches!(identified, TaskResult::Identify(identity) if identity.system_identifier == source.identifier && Some(&identity) == dump.identity.as_ref()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_that_holds_production_is_never_started_nor_touched() {
    let Some(programs) = postgres() else { return };
    let world = World::new();
    let source = Source::start(&world, &programs).await;
    source.admin.batch_execute("CHECKPOINT").await.unwrap();
    let copied = world.command("cp").args(["-a", "production", "pgdata"]).stderr(Stdio::null()).status().unwrap();
    assert!(copied.success());
    let listing = |world: &World| {
        let output = Command::new("find").arg(world.path("pgdata")).args(["-printf", "%p %s %T@\n"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let before = listing(&world);
    let (mut refused, _) = start_copy(&world, &source, SourceRequirements::default());
    assert_eq!(refused.code(), Some(1));
    let message = fs::read(world.path("termination-log")).unwrap();
    assert!(message.len() <= 1024);
    let error: TaskError = serde_json::from_slice(&message).unwrap();
    assert_eq!(error.reason, "CopyIsProduction");
    assert!(error.message.contains(&source.identifier), "{error}");
    assert_eq!(listing(&world), before);

    fs::remove_dir_all(world.path("pgdata")).unwrap();
    fs::write(world.directory("pgdata").join("something"), "").unwrap();
    let (mut refused, _) = start_copy(&world, &source, SourceRequirements::default());
    assert_eq!(refused.code(), Some(1));
    let error: TaskError = serde_json::from_slice(&fs::read(world.path("termination-log")).unwrap()).unwrap();
    assert_eq!(error.reason, "DataDirectoryNotEmpty");
}
