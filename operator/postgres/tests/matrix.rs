//! The matrix against real servers: it is applied and read back, and every single fault in it is
//! found.
//!
//! Runs against each installed version from 15 on (see `dryrun_postgres::testing::installations`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test may panic"
)]

use std::collections::BTreeSet;
use std::time::Instant;

use dryrun_core::api::Privileges;
use dryrun_core::postgres::matrix::{self, Compiled, EscalationPath, Literal, Reading, Statement};
use dryrun_core::run::facts::{EscalationFacts, MatrixDifference, PrivilegeRow, RowGroup};
use dryrun_postgres::testing::{SUPERUSER, Server, installations, skip};
use dryrun_postgres::{Options, Session};
use tokio_postgres::NoTls;

const DATABASE: &str = "directus";
const PRIVILEGES: &str = include_str!("matrix/privileges.yaml");

/// A restored copy.
struct World {
    session: Session,
    version: u32,
    own: BTreeSet<String>,
    _server: Server,
}

impl World {
    async fn start(server: Server) -> Self {
        let options = Options::superuser(0);
        let open = async |database| {
            let mut config = server.config(database);
            let session = Session::connect("connect", &mut config, &options, NoTls).await;
            session.unwrap()
        };
        let create = open("postgres").await;
        create
            .client
            .batch_execute("CREATE DATABASE directus")
            .await
            .unwrap();
        let session = open(DATABASE).await;
        session
            .client
            .batch_execute(include_str!("matrix/world.sql"))
            .await
            .unwrap();
        let identity = dryrun_postgres::identity(&session.client).await.unwrap();
        Self {
            session,
            version: identity.server.version_num,
            own: [SUPERUSER.to_owned()].into(),
            _server: server,
        }
    }

    async fn compile(&self, yaml: &str) -> Compiled {
        self.compile_with(yaml, None).await
    }

    async fn compile_with(&self, yaml: &str, literal: Option<&Literal>) -> Compiled {
        let privileges: Privileges = serde_saphyr::from_str(yaml).unwrap();
        let client = &self.session.client;
        let inventory = dryrun_postgres::inventory(client, self.version, &privileges, literal)
            .await
            .unwrap();
        let today = jiff::civil::date(2026, 11, 23);
        matrix::compile(&privileges, literal, &inventory, today).unwrap()
    }

    async fn escalations(&self, matrix: &Compiled) -> EscalationFacts {
        let client = &self.session.client;
        let paths = dryrun_postgres::escalations(client).await.unwrap();
        matrix::escalations(matrix, &paths, &self.read().await.rows)
    }

    async fn read(&self) -> Reading {
        let client = &self.session.client;
        dryrun_postgres::privileges(client).await.unwrap()
    }

    async fn run(&self, statements: &[Statement]) {
        for statement in statements {
            if let Err(error) = self.session.client.batch_execute(statement.as_str()).await {
                panic!("{statement}: {error:?}");
            }
        }
    }

    async fn begin(&self) {
        self.session
            .client
            .batch_execute("BEGIN; SET LOCAL session_replication_role = replica")
            .await
            .unwrap();
    }

    /// Step C-06: the baseline, after production's grants are gone and before the matrix is
    /// applied.
    async fn bring_about(&self, matrix: &Compiled) -> BTreeSet<PrivilegeRow> {
        let restored = self.read().await;
        let declared = matrix
            .rows
            .iter()
            .filter(|row| row.class == "role_attr")
            .map(|row| row.grantee.clone())
            .collect();
        self.begin().await;
        self.run(&matrix::revoke(&restored, &declared)).await;
        let baseline = self.read().await.rows;
        let left = baseline
            .iter()
            .filter(|row| declared.contains(&row.grantee) && !is_kept(row))
            .map(matrix::line);
        assert_eq!(
            left.collect::<Vec<_>>(),
            Vec::<String>::new(),
            "not revoked"
        );
        self.run(&matrix::apply(matrix)).await;
        self.session.client.batch_execute("COMMIT").await.unwrap();
        baseline
    }
}

/// Returns true if a row of a declared role is not revoked.
fn is_kept(row: &PrivilegeRow) -> bool {
    row.class.starts_with("owner_")
        || ["role_attr", "policy", "secdef"].contains(&row.class.as_str())
}

fn render(difference: &MatrixDifference) -> Vec<String> {
    let side = |name: &'static str, groups: &[RowGroup]| {
        let line = move |group: &RowGroup| {
            format!(
                "{name} {} {} {}: {}",
                group.class,
                group.grantee,
                group.privilege,
                group.examples.join(", ")
            )
        };
        groups.iter().map(line).collect::<Vec<_>>()
    };
    [
        side("missing", &difference.missing),
        side("unexpected", &difference.unexpected),
        difference.errors.clone(),
    ]
    .concat()
}

/// Runs a test against every server that can be had.
async fn against_every_server(test: impl AsyncFn(World)) {
    let mut tested = false;
    for programs in installations() {
        let world = World::start(Server::start(&programs, &[]).unwrap()).await;
        if world.version < 150_000 {
            eprintln!("passed over: {} is older than 15", programs.display());
            continue;
        }
        eprintln!("{}", programs.display());
        test(world).await;
        tested = true;
    }
    if !tested {
        skip(
            "no Postgres server of version 15 or newer is installed (on Debian: apt-get install postgresql)",
        );
    }
}

#[tokio::test]
async fn the_matrix_is_applied_and_read_back() {
    against_every_server(async |world| {
        let matrix = world.compile(PRIVILEGES).await;
        let of = |class: &str| matrix.rows.iter().filter(|row| row.class == class).count();
        assert_eq!(
            (
                of("table"),
                of("column"),
                of("view"),
                of("schema"),
                of("membership")
            ),
            (33, 3, 13, 3, 1)
        );
        let restored = world.read().await.rows;
        let production = matrix::compare(&matrix, &restored, &restored, &world.own);
        assert!(!production.missing.is_empty() && !production.unexpected.is_empty());
        let baseline = world.bring_about(&matrix).await;
        let found = world.read().await.rows;
        let applied = matrix::compare(&matrix, &found, &baseline, &world.own);
        assert_eq!(render(&applied), Vec::<String>::new());
        assert_eq!(
            (applied.declared, applied.found),
            (matrix.rows.len() as u64, matrix.rows.len() as u64)
        );
        // What production gave to others is still theirs, except what a declared role had granted
        // on.
        let others = |rows: &BTreeSet<PrivilegeRow>| {
            rows.iter()
                .filter(|row| ["reader", "readers", "lender"].contains(&row.grantee.as_str()))
                .cloned()
                .collect::<BTreeSet<_>>()
        };
        let lost: Vec<_> = others(&restored)
            .difference(&others(&found))
            .map(matrix::line)
            .collect();
        assert_eq!(lost, ["table\tiu.unit\treader\tSELECT\tfalse\t+"]);
    })
    .await;
}

#[tokio::test]
async fn every_class_is_applied_and_read_back() {
    against_every_server(async |world| {
        let mut yaml = include_str!("matrix/everything.yaml").to_owned();
        if world.version >= 160_000 {
            yaml = yaml.replace(
                "{role: pg_monitor, inherit: false}",
                "{role: pg_monitor, set: false}",
            );
        }
        let matrix = world.compile(&yaml).await;
        let baseline = world.bring_about(&matrix).await;
        let applied = matrix::compare(&matrix, &world.read().await.rows, &baseline, &world.own);
        assert_eq!(render(&applied), Vec::<String>::new());
        let paths = dryrun_postgres::escalations(&world.session.client)
            .await
            .unwrap();
        for (why, what) in [
            ("attribute", "CREATEDB"),
            ("reaches superuser", "cutter_ro"),
            ("predefined role", "pg_monitor"),
            ("can re-grant (ADMIN)", "cutter_ro"),
            ("built-in outside initdb baseline", "pg_read_file(text)"),
            ("SET/ALTER SYSTEM on parameter", "work_mem"),
            ("CREATE in schema", "public"),
        ] {
            let is_it = |path: &EscalationPath| {
                path.role == "cutter_exec" && path.why == why && path.what == what
            };
            assert!(paths.iter().any(is_it), "{why} {what}: {paths:?}");
        }
    })
    .await;
}

/// Objects that are restored and granted on purpose are no path for PUBLIC, nor is a membership in
/// a declared role.
#[tokio::test]
async fn an_innocent_matrix_has_no_escalation_path() {
    against_every_server(async |world| {
        let matrix = world.compile(PRIVILEGES).await;
        world.bring_about(&matrix).await;
        assert_eq!(world.escalations(&matrix).await, innocent(0));
    })
    .await;
}

/// Escalation facts of a matrix with many allowed paths, where PUBLIC may execute what the matrix
/// declares.
fn innocent(found: u64) -> EscalationFacts {
    let routines = [("function".to_owned(), 3), ("procedure".to_owned(), 1)];
    EscalationFacts {
        found,
        executable_by_public: routines.into(),
        ..EscalationFacts::default()
    }
}

#[tokio::test]
async fn every_escalation_path_is_found() {
    against_every_server(async |world| {
        let matrix = world.compile(PRIVILEGES).await;
        world.bring_about(&matrix).await;
        let mut report = String::new();
        for fault in include_str!("matrix/escalations.sql").lines() {
            world.begin().await;
            let injected = world.session.client.batch_execute(fault).await;
            injected.unwrap_or_else(|error| panic!("{fault}: {error:?}"));
            let facts = world.escalations(&matrix).await;
            world
                .session
                .client
                .batch_execute("ROLLBACK")
                .await
                .unwrap();
            assert_ne!(facts.unexpected, 0, "{fault}");
            report.extend([fault, "\n"]);
            report.extend(facts.examples.iter().map(|path| format!("  {path}\n")));
        }
        insta::assert_snapshot!("escalations", report);
    })
    .await;
}

#[tokio::test]
async fn allowed_paths_pass_and_must_be_there() {
    against_every_server(async |world| {
        let yaml = format!(
            "{PRIVILEGES}\nescalationAllowed:\n\
             - {{role: public, why: 'SECURITY DEFINER as workflow_admin, search_path unpinned', what: iu.close_day(date), reason: batch}}\n"
        );
        let matrix = world.compile(&yaml).await;
        world.bring_about(&matrix).await;
        let message = "the allowed escalation `public: SECURITY DEFINER as workflow_admin, search_path unpinned: iu.close_day(date)` matches nothing";
        assert_eq!(world.escalations(&matrix).await.vain, [message]);
        world.begin().await;
        world.session.client.batch_execute("GRANT EXECUTE ON FUNCTION iu.close_day(date) TO PUBLIC").await.unwrap();
        let facts = world.escalations(&matrix).await;
        world.session.client.batch_execute("ROLLBACK").await.unwrap();
        let mut expected = innocent(1);
        expected.executable_by_public.insert("function".into(), 4);
        assert_eq!(facts, expected);
    })
    .await;
}

/// A shop of functions that run as their owner is one line, and so is what PUBLIC may execute.
#[tokio::test]
async fn hundreds_of_functions_are_one_line() {
    against_every_server(async |world| {
        world.session.client.batch_execute(include_str!("matrix/shop.sql")).await.unwrap();
        let yaml = format!(
            "{PRIVILEGES}\nescalationAllowed:\n\
             - {{role: public, why: SECURITY DEFINER as bootstrap, what: public.api_*, expectPaths: 300, reason: the interface}}\n\
             - {{role: public, why: through PUBLIC, what: 'EXECUTE on function:public.*', expectPaths: 300, reason: with the rights of the caller}}\n"
        );
        let matrix = world.compile(&yaml).await;
        world.bring_about(&matrix).await;
        let mut expected = innocent(600);
        expected.executable_by_public.insert("function".into(), 603);
        assert_eq!(world.escalations(&matrix).await, expected);
        world.session.client.batch_execute("DROP FUNCTION public.api_7(), public.plain_7()").await.unwrap();
        assert_eq!(world.escalations(&matrix).await.vain.len(), 2);
    })
    .await;
}

/// A matrix that was frozen is the same matrix: its rows come from a reading, and are brought about
/// and read back from the list alone.
#[tokio::test]
async fn a_frozen_matrix_is_the_same_matrix() {
    against_every_server(async |world| {
        let declared = world.compile(PRIVILEGES).await;
        let mut lines: Vec<String> = declared.rows.iter().map(matrix::line).collect();
        // What a list may have beside privileges: definitions, ownership, what was taken from
        // initial privileges.
        let pinned = world.read().await.rows.into_iter().filter(|row| {
            row.class == "policy"
                || row.class == "rls"
                || row.sign == "-" && row.grantee == "public" && row.class == "function"
                || row.class == "owner_table" && row.grantee == "workflow_admin"
        });
        lines.extend(pinned.map(|row| matrix::line(&row)));
        lines.sort_unstable();
        let literal = Literal::read(lines.join("\n").as_bytes()).unwrap();
        let (roles, _) = PRIVILEGES.split_once("grants:").unwrap();
        let matrix = world.compile_with(roles, Some(&literal)).await;
        assert!(matrix.rows.is_superset(&declared.rows));
        assert_eq!(matrix.rows.len(), lines.len());
        let baseline = world.bring_about(&matrix).await;
        let compare =
            async || matrix::compare(&matrix, &world.read().await.rows, &baseline, &world.own);
        assert_eq!(render(&compare().await), Vec::<String>::new());
        world
            .session
            .client
            .batch_execute("DROP POLICY own ON iu.unit")
            .await
            .unwrap();
        assert!(
            render(&compare().await)
                .iter()
                .any(|line| line.contains("policy public") && line.contains("iu.unit.own"))
        );
    })
    .await;
}

/// Production's settings of the log do not reach the copy's sessions; every other setting does.
#[tokio::test]
async fn what_production_logs_is_reset() {
    against_every_server(async |world| {
        let production = "ALTER DATABASE directus SET log_min_messages TO panic; ALTER ROLE reader SET log_statement TO none; \
            ALTER ROLE ALL SET log_error_verbosity TO terse; ALTER ROLE reader IN DATABASE directus SET client_connection_check_interval TO 0; \
            ALTER DATABASE directus SET lc_messages TO 'POSIX'; ALTER DATABASE directus SET bytea_output TO escape";
        world.session.client.batch_execute(production).await.unwrap();
        let settings = matrix::log_settings(&world.read().await);
        assert_eq!(settings.len(), 5, "{settings:?}");
        for setting in settings {
            world.session.client.batch_execute(setting.reset().as_str()).await.unwrap();
        }
        assert_eq!(matrix::log_settings(&world.read().await), []);
        let left: Vec<String> = world.read().await.rows.iter().filter(|row| row.class == "setting" && row.object == "db:directus").map(|row| row.privilege.clone()).collect();
        assert!(left.contains(&"bytea_output=escape".to_owned()) && left.contains(&"work_mem=5MB".to_owned()), "{left:?}");
    })
    .await;
}

#[tokio::test]
async fn a_whole_database_can_be_declared() {
    against_every_server(async |world| {
        let matrix = world.compile(include_str!("matrix/database.yaml")).await;
        let baseline = world.bring_about(&matrix).await;
        let compare =
            async || matrix::compare(&matrix, &world.read().await.rows, &baseline, &world.own);
        assert_eq!(render(&compare().await), Vec::<String>::new());
        world
            .session
            .client
            .batch_execute("CREATE ROLE stranger")
            .await
            .unwrap();
        assert_eq!(
            compare()
                .await
                .unexpected
                .iter()
                .filter(|group| group.grantee == "stranger")
                .count(),
            9
        );
    })
    .await;
}

/// Prints what ten thousand tables and five roles take.
#[tokio::test]
#[ignore = "asserts nothing about time, which depends on the machine and the profile"]
async fn ten_thousand_tables() {
    against_every_server(async |world| {
        world.session.client.batch_execute(include_str!("matrix/large.sql")).await.unwrap();
        let roles: String = (1..=5).map(|role| format!("app_{role}: {{}}, ")).collect();
        let grant = |role, schema| format!("{{to: app_{role}, object: 'table:s{schema}.*', privileges: [SELECT, INSERT, UPDATE], expectRows: 1500}}, ");
        let grants: String = (1..=5).flat_map(|role| (1..=20).map(move |schema| grant(role, schema))).collect();
        let mut start = Instant::now();
        let mut lap = |what: &str| eprintln!("{what}: {:?}", std::mem::replace(&mut start, Instant::now()).elapsed());
        let matrix = world.compile(&format!("{{roles: {{{roles}}}, grants: [{grants}]}}")).await;
        lap("inventory and compile");
        let baseline = world.bring_about(&matrix).await;
        lap("read, revoke, read, apply");
        let found = world.read().await.rows;
        lap("read");
        let difference = matrix::compare(&matrix, &found, &baseline, &world.own);
        lap("compare");
        eprintln!("{} rows declared, {} found, {} other", difference.declared, difference.found, difference.rest.rows);
        assert_eq!(render(&difference), Vec::<String>::new());
        lap("-");
        let facts = world.escalations(&matrix).await;
        lap("read again, escalations");
        assert_eq!(facts.vain, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn every_single_fault_is_found() {
    against_every_server(async |world| {
        let matrix = world.compile(PRIVILEGES).await;
        let baseline = world.bring_about(&matrix).await;
        let common = inject(
            &world,
            &matrix,
            &baseline,
            include_str!("matrix/faults.sql"),
        )
        .await;
        insta::assert_snapshot!("faults", common);
        let (name, faults) = match world.version {
            ..160_000 => ("faults_15", include_str!("matrix/faults-15.sql")),
            160_000..170_000 => return,
            170_000.. => ("faults_17", include_str!("matrix/faults-17.sql")),
        };
        insta::assert_snapshot!(name, inject(&world, &matrix, &baseline, faults).await);
    })
    .await;
}

/// Injects each line's fault in a transaction that is rolled back, and tells what was found of it.
async fn inject(
    world: &World,
    matrix: &Compiled,
    baseline: &BTreeSet<PrivilegeRow>,
    faults: &str,
) -> String {
    let before = matrix::compare(matrix, &world.read().await.rows, baseline, &world.own);
    let mut report = String::new();
    let mut undetected = Vec::new();
    for fault in faults.lines() {
        world.begin().await;
        world
            .session
            .client
            .batch_execute(fault)
            .await
            .unwrap_or_else(|error| panic!("{fault}: {error:?}"));
        let difference = matrix::compare(matrix, &world.read().await.rows, baseline, &world.own);
        world
            .session
            .client
            .batch_execute("ROLLBACK")
            .await
            .unwrap();
        let mut found = render(&difference);
        if difference.rest != before.rest {
            found.push("the rest".to_owned());
        }
        if found.is_empty() != fault.contains("-- no fault") {
            undetected.push(fault);
        }
        report.extend([fault, "\n"]);
        report.extend(found.iter().map(|line| format!("  {line}\n")));
    }
    assert_eq!(undetected, Vec::<&str>::new());
    report
}
