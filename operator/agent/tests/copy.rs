//! The copy: started by `dryrun-agent postgres`, restored into and used.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant, SystemTime},
};

use dryrun_core::{
    agent_api::{
        copy_server::PostgresConfig,
        protocol::{Task, TaskResult},
        tasks::{IdentifyTask, Login, RestoreTask, Server, SqlTask},
    },
    api::{Authentication, SqlExpectation, SqlStep, SslMode},
    postgres::{matrix, settings},
    problem::Problem,
    run::facts::{
        CopyFacts, DumpFacts, RestoreClaim, SetDifference, SourceRequirements, StepClaim,
    },
};
use support::{
    Agent, DEADLINE, PASSWORD, Process, World, connect, free_port, postgres,
    production::{Production, RIGHTS},
};
use tokio_postgres::Client;

/// Starts the copy as its container would, or gives the process that refused.
fn start_copy(
    world: &World,
    source: &Production,
    requirements: SourceRequirements,
) -> (Process, PostgresConfig) {
    world.secret("superuser", PASSWORD);
    let config = PostgresConfig {
        run_uid: "0a1b2c3d-0000-4000-8000-000000000000".into(),
        bootstrap_role: "dryrun_0a1b2c3d".into(),
        restore_role: Some("dryrun_0a1b2c3d_restore".into()),
        database: "directus".into(),
        roles: vec![
            "cutter_exec".into(),
            "cutter_verify".into(),
            "cutter_ro".into(),
        ],
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
    std::os::unix::fs::fchown(
        &log,
        Some(fs::metadata(world.path("secrets")).unwrap().uid()),
        None,
    )
    .unwrap();
    let process = world
        .command(world.path("agent"))
        .args([
            "postgres",
            "--termination-log",
            "termination-log",
            "--secrets",
        ])
        .arg(world.path("secrets"))
        .env("DRYRUN_POSTGRES", serde_json::to_string(&config).unwrap())
        .spawn()
        .unwrap();
    (Process(process), config)
}

/// Makes the roles that the restore needs, as the operator does, and gives its session.
async fn prepare(config: &PostgresConfig, dump: &DumpFacts, roles: &BTreeSet<String>) -> Client {
    let operator = connect(config.port, &config.bootstrap_role, PASSWORD, "postgres").await;
    let restorer = config.restore_role.as_deref().unwrap();
    let statement = format!("CREATE ROLE {restorer} LOGIN SUPERUSER PASSWORD '{PASSWORD}'");
    operator.batch_execute(&statement).await.unwrap();
    let rights = matrix::undeclared(dump.role_rights.iter().cloned(), roles, &BTreeSet::new());
    let version = dump.identity.as_ref().unwrap().version_num;
    for statement in [matrix::create(roles), matrix::give(&rights, version)].concat() {
        operator.batch_execute(statement.as_str()).await.unwrap();
    }
    operator
}

fn restore(
    source: &Production,
    agent: &Agent,
    id: &str,
    config: &PostgresConfig,
    world: &World,
    digest: &str,
) -> TaskResult {
    restore_leaving(0, source, agent, id, config, world, digest)
}

/// A restore that must leave so many bytes free.
fn restore_leaving(
    minimum_free: u64,
    source: &Production,
    agent: &Agent,
    id: &str,
    config: &PostgresConfig,
    world: &World,
    digest: &str,
) -> TaskResult {
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
                authentication: Authentication::ScramSha256,
                ca_file: None,
                password_file: "superuser".into(),
            },
            database: "directus".into(),
            jobs: 2,
            directory: world.path("dump/1").display().to_string(),
            dump_digest: digest.into(),
            forbidden_system_identifier: source.identifier.clone(),
            minimum_free,
        }),
    )
}

fn step(sql: &str) -> SqlStep {
    SqlStep {
        sql: sql.into(),
        expect: SqlExpectation::default(),
    }
}

fn sql_task(name: &str, port: u16, user: &str, password: &str, sql: &[&str]) -> SqlTask {
    SqlTask {
        name: name.into(),
        steps: sql.iter().map(|sql| step(sql)).collect(),
        login: Login {
            address: "127.0.0.1".into(),
            port,
            database: "directus".into(),
            user: user.into(),
            password: password.into(),
        },
        timeout_ms: 30_000,
    }
}

fn steps(
    agent: &Agent,
    id: &str,
    port: u16,
    user: &str,
    password: &str,
    sql: &[&str],
) -> Vec<(String, u64)> {
    let task = sql_task(id, port, user, password, sql);
    match agent.run(id, &Task::RunSql(task)) {
        TaskResult::Scenario(claim) => claim
            .steps
            .into_iter()
            .map(|StepClaim { sqlstate, rows }| (sqlstate, rows))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_restored_equal_and_judged_by_its_own_checks() {
    let Some(programs) = postgres() else { return };
    let world = World::new();
    // Settings that decide rights and meanings, one hidden behind the database's own.
    let settings = [
        "lo_compat_privileges=on",
        "search_path=\"$user\", iu, public",
        "IntervalStyle=iso_8601",
        "xmlbinary=hex",
        "bytea_output=escape",
    ];
    let source = Production::start(&world, &programs, &settings).await;
    let of_database = "ALTER DATABASE directus SET xmlbinary TO base64; ALTER ROLE dump_ro SET \"TimeZone\" TO 'UTC'";
    source.admin.batch_execute(of_database).await.unwrap();
    source.admin.batch_execute(RIGHTS).await.unwrap();
    let agent = Agent::start(&world);
    let dump = source.dump(&world, &agent, "dump", |_| {});
    assert_eq!(dump.problem, None);
    let archive = dump.archive.clone().unwrap();

    let requirements = dump.requirements.clone().unwrap();
    assert_eq!(requirements.settings_unseen, ["TimeZone", "xmlbinary"]);
    let (_copy, config) = start_copy(&world, &source, requirements);
    let operator = prepare(&config, &dump, &dump.roles).await;
    let found: BTreeMap<String, String> = dryrun_postgres::settings(&operator)
        .await
        .unwrap()
        .into_iter()
        .map(|setting| (setting.name, setting.value))
        .collect();
    let compared = settings::compare(&config.requirements.settings, &found, &found);
    assert_eq!(compared.differing, Vec::<String>::new());
    assert!(compared.compared > 20, "{compared:?}");
    assert_eq!(found["lo_compat_privileges"], "on");
    assert_eq!(found["search_path"], r#""$user", iu, public"#);
    assert_eq!(found["bytea_output"], "escape");

    // Not with production's identifier, and not with another dump.
    let mut forbidden = source.server();
    forbidden.user = "x".into();
    let identity = dryrun_postgres::identity(&operator).await.unwrap();
    let copy_identifier = identity.server.system_identifier;
    assert_eq!(identity.cluster_name, config.run_uid);
    let pretended = Production {
        identifier: copy_identifier.clone(),
        ..source
    };
    assert!(
        matches!(restore(&pretended, &agent, "same", &config, &world, &archive.digest), TaskResult::Failed(e) if e.reason == "CopyIsProduction")
    );
    let source = Production {
        identifier: config.forbidden_system_identifier.clone(),
        ..pretended
    };
    assert!(
        matches!(restore(&source, &agent, "changed", &config, &world, "sha256:0"), TaskResult::Failed(e) if e.reason == "DumpChanged")
    );

    let claim = match restore(&source, &agent, "restore", &config, &world, &archive.digest) {
        TaskResult::Restore(claim) => claim,
        other => panic!("{other:?}"),
    };
    assert!(claim.lowest_free_bytes > 0 && claim.lowest_free_bytes < u64::MAX);
    // A volume that is never empty enough: the restore is stopped, and nothing is compared.
    let full = restore_leaving(
        u64::MAX,
        &source,
        &agent,
        "full",
        &config,
        &world,
        &archive.digest,
    );
    assert!(
        matches!(&full, TaskResult::Restore(full) if full.exit_code == -1 && full.copy.catalog.rows == 0),
        "{full:?}"
    );
    let RestoreClaim {
        exit_code,
        errors,
        error_lines,
        copy,
        ..
    } = claim;
    assert_eq!((exit_code, error_lines, &errors), (0, 0, &vec![]));
    assert_eq!(copy.counts, archive.counts);
    assert_eq!(copy.counts_difference.rows, 0);
    assert_eq!(copy.catalog.rows, archive.catalog.rows);
    assert_ne!(
        copy.catalog, archive.catalog,
        "some definitions are printed differently after a restore"
    );
    assert_eq!(
        copy.catalog_difference.rows, 0,
        "{:?}",
        copy.catalog_difference
    );
    assert_eq!(
        copy.system_identifiers,
        [copy_identifier.clone(), copy_identifier]
    );
    let left = operator
        .query(
            "SELECT datname::text FROM pg_database WHERE datname ~ 'scratch'",
            &[],
        )
        .await
        .unwrap();
    assert!(left.is_empty());

    let database = connect(config.port, &config.bootstrap_role, PASSWORD, "directus").await;
    let mappings: i64 = database
        .query_one("SELECT count(*) FROM pg_user_mappings", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(mappings, 0, "user mappings hold passwords");
    for role in ["cutter_exec", "cutter_verify"] {
        database
            .batch_execute(&format!("ALTER ROLE {role} LOGIN PASSWORD '{PASSWORD}'"))
            .await
            .unwrap();
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
    let expected = [
        ("00000", 3),
        ("42703", 0),
        ("00000", 1),
        ("42501", 0),
        ("00000", 1),
    ]
    .map(|(state, rows)| (state.to_owned(), rows));
    assert_eq!(ran, expected);
    let refused = |id: &str, user: &str, password: &str| {
        steps(
            &agent,
            id,
            config.port,
            user,
            password,
            &["SELECT 1", "SELECT 2"],
        )
    };
    assert_eq!(
        refused("S7", "cutter_verify", PASSWORD),
        vec![("53300".to_owned(), 0); 2]
    );
    assert_eq!(
        refused("S11", "cutter_ro", PASSWORD),
        vec![("28000".to_owned(), 0); 2]
    );
    assert_eq!(
        refused("wrong", "cutter_exec", "wrong"),
        vec![("28P01".to_owned(), 0); 2]
    );
    assert_eq!(
        refused("stranger", "app_owner", PASSWORD),
        vec![("28000".to_owned(), 0); 2]
    );

    // A statement that has timed out does not continue in the copy.
    let endless = SqlTask {
        timeout_ms: 2000,
        ..sql_task(
            "S12",
            config.port,
            "cutter_exec",
            PASSWORD,
            &["SELECT pg_sleep(600)"],
        )
    };
    assert!(
        matches!(agent.run("S12", &Task::RunSql(endless)), TaskResult::Scenario(claim) if claim.timed_out)
    );
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'cutter_exec'";
    let started = Instant::now();
    while database
        .query_one(sessions, &[])
        .await
        .unwrap()
        .get::<_, i64>(0)
        > 0
    {
        assert!(started.elapsed() < DEADLINE, "its session is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let log = fs::read_to_string(world.path("server/server.json")).unwrap();
    assert!(
        log.lines()
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
    );
    assert!(
        log.contains(r#""func_name":"aclcheck_error""#),
        "a denial names the server's own check"
    );
    assert!(!log.contains("mapping-secret"));

    let identified = agent.run(
        "identify",
        &Task::Identify(IdentifyTask {
            server: source.server(),
        }),
    );
    assert!(
        matches!(identified, TaskResult::Identify(identity) if identity.system_identifier == source.identifier && Some(&identity) == dump.identity.as_ref())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_without_a_role_tells_what_was_lost() {
    let Some(programs) = postgres() else { return };
    let world = World::new();
    let source = Production::start(&world, &programs, &[]).await;
    source.admin.batch_execute(RIGHTS).await.unwrap();
    // The commonest error of a restore: a function of an index calls another one without its
    // schema.
    let broken = "CREATE FUNCTION public.inner_one(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1'; \
        CREATE FUNCTION public.outer_one(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT inner_one($1)'; \
        CREATE INDEX of_one ON iu.parent (public.outer_one(x)); COMMENT ON INDEX iu.of_one IS 'lost'";
    source.admin.batch_execute(broken).await.unwrap();
    let agent = Agent::start(&world);
    let dump = source.dump(&world, &agent, "dump", |_| {});
    let digest = dump.archive.clone().unwrap().digest;
    let (_copy, config) = start_copy(&world, &source, dump.requirements.clone().unwrap());
    let mut roles = dump.roles.clone();
    roles.remove("app_reader");
    prepare(&config, &dump, &roles).await;
    let claim = match restore(&source, &agent, "restore", &config, &world, &digest) {
        TaskResult::Restore(claim) => claim,
        other => panic!("{other:?}"),
    };
    assert_eq!(claim.exit_code, 1);
    let missing =
        r#"pg_restore: error: could not execute query: ERROR:  role "app_reader" does not exist"#;
    assert!(
        claim.errors.iter().any(|error| error == missing),
        "{:?}",
        claim.errors
    );
    // The database's settings are one entry of the dump: what follows the failed statement in it is
    // lost too.
    let CopyFacts {
        catalog_difference,
        catalog_tolerated,
        ..
    } = claim.copy;
    assert_eq!(catalog_difference, SetDifference::default());
    assert_eq!(
        (catalog_tolerated.rows, catalog_tolerated.examples),
        (
            5,
            vec![
                "comment index iu.of_one".into(),
                "index iu.of_one".into(),
                "policy iu.private.own".into()
            ]
        )
    );
    for entry in [
        "INDEX iu of_one",
        "COMMENT iu INDEX of_one",
        "POLICY iu private own",
        "DATABASE PROPERTIES - directus",
    ] {
        assert!(
            claim.failed.iter().any(|failed| failed == entry),
            "{:?}",
            claim.failed
        );
    }
    assert_eq!(claim.failed_count, claim.failed.len() as u64);
    // The schema-only restore that disputed definitions are compared with fails in the same way,
    // and must not count again.
    let log = fs::read_to_string(world.path("server/server.json")).unwrap();
    let logged = log
        .lines()
        .filter(|line| line.contains(r#""error_severity":"ERROR""#))
        .count();
    assert_eq!(claim.error_lines, u64::try_from(logged).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_dump_carries_is_no_difference() {
    let Some(programs) = postgres() else { return };
    let world = World::new();
    let source = Production::start(&world, &programs, &[]).await;
    source
        .admin
        .batch_execute(include_str!("undumped.sql"))
        .await
        .unwrap();
    source.admin.batch_execute(RIGHTS).await.unwrap();
    let agent = Agent::start(&world);
    let dump = source.dump(&world, &agent, "dump", |_| {});
    assert_eq!(dump.problem, None);
    let digest = dump.archive.clone().unwrap().digest;
    let (_copy, config) = start_copy(&world, &source, dump.requirements.clone().unwrap());
    prepare(&config, &dump, &dump.roles).await;
    let claim = match restore(&source, &agent, "restore", &config, &world, &digest) {
        TaskResult::Restore(claim) => claim,
        other => panic!("{other:?}"),
    };
    assert_eq!((claim.exit_code, claim.errors), (0, vec![]));
    assert_eq!(claim.copy.catalog_difference, SetDifference::default());
    let copy = connect(config.port, &config.bootstrap_role, PASSWORD, "directus").await;
    let version = "SELECT extversion FROM pg_extension WHERE extname = 'hstore'";
    let version: String = copy.query_one(version, &[]).await.unwrap().get(0);
    assert_eq!(version, "1.4");
    let analyzed = "SELECT count(*) FROM pg_statistic WHERE starelid = 'iu.unit'::regclass";
    let analyzed: i64 = copy.query_one(analyzed, &[]).await.unwrap().get(0);
    assert!(analyzed > 0, "a foreign partition has stopped ANALYZE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_that_holds_production_is_never_started_nor_touched() {
    let Some(programs) = postgres() else { return };
    let world = World::new();
    let source = Production::start(&world, &programs, &[]).await;
    source.admin.batch_execute("CHECKPOINT").await.unwrap();
    let copied = world
        .command("cp")
        .args(["-a", "production", "pgdata"])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(copied.success());
    let listing = |world: &World| {
        let mut listing = Vec::new();
        list(&world.path("pgdata"), &mut listing);
        listing
    };
    let before = listing(&world);
    let (mut refused, _) = start_copy(&world, &source, SourceRequirements::default());
    assert_eq!(refused.code(), Some(1));
    let message = fs::read(world.path("termination-log")).unwrap();
    assert!(message.len() <= 1024);
    let error: Problem = serde_json::from_slice(&message).unwrap();
    assert_eq!(error.reason, "CopyIsProduction");
    assert!(error.message.contains(&source.identifier), "{error}");
    assert_eq!(listing(&world), before);

    fs::remove_dir_all(world.path("pgdata")).unwrap();
    fs::write(world.directory("pgdata").join("something"), "").unwrap();
    let (mut refused, _) = start_copy(&world, &source, SourceRequirements::default());
    assert_eq!(refused.code(), Some(1));
    let error: Problem =
        serde_json::from_slice(&fs::read(world.path("termination-log")).unwrap()).unwrap();
    assert_eq!(error.reason, "DataDirectoryNotEmpty");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_the_image_lacks_is_named() {
    let Some(programs) = postgres() else { return };
    let world = World::new();
    let source = Production::start(&world, &programs, &[]).await;
    let requirements = SourceRequirements {
        encoding: "UTF8".into(),
        locale_provider: "libc".into(),
        collate: "C".into(),
        ctype: "C".into(),
        settings: BTreeMap::from([("TimeZone".into(), "Nowhere/Land".into())]),
        ..SourceRequirements::default()
    };
    let (mut refused, _) = start_copy(&world, &source, requirements);
    assert_eq!(refused.code(), Some(1));
    let error: Problem =
        serde_json::from_slice(&fs::read(world.path("termination-log")).unwrap()).unwrap();
    assert_eq!(error.reason, "SettingRefused");
    assert!(error.message.contains("\"TimeZone\""), "{error}");
}

/// Every file with its size and time of change.
fn list(directory: &Path, listing: &mut Vec<(PathBuf, u64, SystemTime)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        listing.push((entry.path(), metadata.len(), metadata.modified().unwrap()));
        if metadata.is_dir() {
            list(&entry.path(), listing);
        }
    }
}

/// A second superuser, a role that bypasses row security, and one that hands on what it was lent
/// act in the copy as they do in production.
#[tokio::test(flavor = "multi_thread")]
async fn other_roles_are_as_strong_as_in_production() {
    let Some(programs) = postgres() else { return };
    let world = World::new();
    let source = Production::start(&world, &programs, &[]).await;
    source.admin.batch_execute(RIGHTS).await.unwrap();
    source
        .admin
        .batch_execute(include_str!("strong.sql"))
        .await
        .unwrap();
    let agent = Agent::start(&world);
    let dump = source.dump(&world, &agent, "dump", |_| {});
    assert_eq!(dump.problem, None);
    let (_copy, config) = start_copy(&world, &source, dump.requirements.clone().unwrap());
    prepare(&config, &dump, &dump.roles).await;
    let digest = dump.archive.clone().unwrap().digest;
    let claim = match restore(&source, &agent, "restore", &config, &world, &digest) {
        TaskResult::Restore(claim) => claim,
        other => panic!("{other:?}"),
    };
    assert_eq!((claim.exit_code, claim.errors), (0, vec![]));
    assert_eq!(claim.copy.catalog_difference.rows, 0);

    let copy = connect(config.port, &config.bootstrap_role, PASSWORD, "directus").await;
    let found = dryrun_postgres::role_rights(&copy).await.unwrap();
    let found = matrix::undeclared(found, &dump.roles, &BTreeSet::new());
    assert_eq!(matrix::differing(&dump.role_rights, &found), [""; 0]);
    for server in [&source.admin, &copy] {
        let seen = server
            .query_one(include_str!("strong_seen.sql"), &[])
            .await
            .unwrap();
        assert_eq!(
            (seen.get::<_, i64>(0), seen.get::<_, i64>(1)),
            (1, 60),
            "a total, and what the lender handed on"
        );
        server
            .batch_execute("SET ROLE cutter_verify")
            .await
            .unwrap();
        let customers = server
            .query_one("SELECT count(*) FROM app.all_customers", &[])
            .await
            .unwrap();
        assert_eq!(customers.get::<_, i64>(0), 9);
        let secret = server
            .query_one("SELECT secret FROM app.peek()", &[])
            .await
            .unwrap();
        assert_eq!(secret.get::<_, &str>(0), "x");
    }
}
