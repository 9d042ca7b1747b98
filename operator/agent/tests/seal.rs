//! The search of a volume that hostile code has written to, and the archive of what is kept.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::fs::{PermissionsExt, symlink},
    process::Command,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use dryrun_core::{
    agent_api::{
        protocol::{Task, TaskResult},
        tasks::{SealTask, SearchTask},
    },
    digest,
    run::{
        credentials::{scenario_password, scenario_secret},
        facts::{LeakFacts, SealFacts},
    },
};
use postgres_protocol::password;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::{Agent, PASSWORD, TOKEN, World};

const UID: &str = "0a1b2c3d-0000-4000-8000-000000000000";
const CANARY: &str = "caNary7Zk4mQ9xT2bV7nL8pR3wY6cJ1h";
const SOURCE: &str = r#"it's "100%"\pröd"#;
const ROLE: &str = "cutter_exec";

/// The passwords in every form, one a line, without the names of the forms.
fn forms() -> Vec<String> {
    let scenario = scenario_password(PASSWORD, UID, 1);
    let hex = |text: &str| digest::hex(text.as_bytes());
    vec![
        format!("PGPASSWORD={PASSWORD}"),
        format!(
            "Authorization: Basic {}",
            STANDARD.encode(format!("app:{PASSWORD}"))
        ),
        STANDARD.encode(format!("ab:{PASSWORD}\n")),
        STANDARD.encode(PASSWORD),
        hex(PASSWORD),
        hex(&scenario).to_uppercase(),
        password::md5(PASSWORD.as_bytes(), ROLE),
        password::scram_sha_256(scenario.as_bytes()),
        password::scram_sha_256(SOURCE.as_bytes()),
        scenario_secret(PASSWORD, UID, 0),
        SOURCE.to_owned(),
        format!("ALTER ROLE x PASSWORD '{}'", SOURCE.replace('\'', "''")),
        json!({"statement": format!("'{}'", SOURCE.replace('\'', "''"))}).to_string(),
        "postgres://dump_ro:it%27s%20%22100%25%22%5Cpr%C3%B6d@db/x".to_owned(),
        TOKEN.to_owned(),
    ]
}

fn entry(user: &str, severity: &str, function: &str, message: &str) -> Value {
    json!({
        "timestamp": "2026-11-26 19:40:01.123 UTC", "user": user, "dbname": "directus", "pid": 7, "session_id": "6744f1a1.1267",
        "error_severity": severity, "state_code": "00000", "message": message, "detail": "Parameters: $1 = 'row of alice'",
        "context": "row of alice", "func_name": function, "application_name": "row of alice", "backend_type": "client backend",
    })
}

/// The copy's log.
fn server_log() -> String {
    let statement = |user: &str, text: &str| {
        entry(
            user,
            "LOG",
            "exec_simple_query",
            &format!("statement: {text}"),
        )
    };
    let mut duplicate = entry("cutter_exec", "ERROR", "_bt_check_unique", "row of alice");
    duplicate["state_code"] = "23505".into();
    duplicate["statement"] = "INSERT INTO iu.unit VALUES ('row of alice')".into();
    let mut denied = entry(
        "cutter_exec",
        "ERROR",
        "aclcheck_error",
        "permission denied for table unit",
    );
    denied["state_code"] = "42501".into();
    denied["statement"] = "DELETE FROM iu.unit".into();
    let secret = scenario_secret(PASSWORD, UID, 0);
    [
        entry(
            "cutter_exec",
            "LOG",
            "PerformAuthentication",
            "connection authorized: user=cutter_exec",
        ),
        statement("dryrun_0a1b2c3d", &format!("SELECT '{CANARY}' AS marker")),
        statement(
            "dryrun_0a1b2c3d",
            &format!("SELECT 'dryrun scenario 0 begins {}'", &secret[..16]),
        ),
        statement(
            "cutter_exec",
            &format!("SELECT set_config('x', '{PASSWORD}', true)"),
        ),
        statement("cutter_ro", "SELECT 'not traced'"),
        entry(
            "cutter_exec",
            "LOG",
            "exec_stmt_raise",
            "statement: row of alice",
        ),
        duplicate,
        denied,
    ]
    .iter()
    .map(|entry| format!("{entry}\n"))
    .chain([r#"{"timestamp":"cut"#.to_owned()])
    .collect()
}

fn world() -> World {
    let world = World::new();
    for (name, value) in [
        ("token-seal", TOKEN),
        ("superuser", PASSWORD),
        ("canary", CANARY),
        ("source", &format!("{SOURCE}\n")),
    ] {
        world.secret(name, value);
    }
    for directory in ["evidence/server", "evidence/harness/deep/er"] {
        world.directory(directory);
    }
    let write = |path: &str, text: &str| fs::write(world.path(path), text).unwrap();
    write("evidence/server/server.json", &server_log());
    write("evidence/server/server.log", "starting\n");
    write("evidence/harness/S1.log", &(forms().join("\n") + "\n"));
    write("evidence/harness/S2.log", "nothing to see\n");
    write(
        "evidence/harness/undeclared.log",
        &STANDARD.encode(format!("x{SOURCE}")),
    );
    // What hostile code may leave.
    write(
        &format!("evidence/harness/deep/er/{PASSWORD}\n.log"),
        "a name\n",
    );
    let harness = world.path("evidence/harness");
    symlink("/etc/passwd", harness.join("link")).unwrap();
    symlink("/etc", harness.join("directory")).unwrap();
    symlink("../server/server.json", harness.join("S3.log")).unwrap();
    mknodat(
        CWD,
        harness.join("fifo"),
        FileType::Fifo,
        Mode::from_raw_mode(0o666),
        0,
    )
    .unwrap();
    write("evidence/harness/closed", PASSWORD);
    fs::set_permissions(harness.join("closed"), fs::Permissions::from_mode(0o0)).unwrap();
    let sparse = fs::File::create(harness.join("S4.log")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    world
}

fn search_task(world: &World) -> SearchTask {
    SearchTask {
        directory: world.path("evidence").display().to_string(),
        run_uid: UID.into(),
        scenarios: 2,
        roles: vec![ROLE.into()],
    }
}

/// A log with the digest that it has by now, as far as it can be read.
fn log(world: &World, name: &str) -> (String, String) {
    let path = world.path(&format!("evidence/harness/{name}.log"));
    let text = fs::read(path).unwrap_or_default();
    (name.to_owned(), digest::prefixed(&Sha256::digest(text)))
}

fn seal_task(world: &World) -> SealTask {
    SealTask {
        search: search_task(world),
        documents: BTreeMap::from([(
            "facts.json".to_owned(),
            json!({"leaked": PASSWORD}).to_string(),
        )]),
        logs: ["S1", "S2", "S3", "S4", "S5"]
            .map(|name| log(world, name))
            .into(),
        unfinished: None,
        trace_roles: vec!["cutter_exec".into(), "dryrun_0a1b2c3d".into()],
        max_bytes: 1 << 20,
    }
}

fn searched(result: TaskResult) -> LeakFacts {
    match result {
        TaskResult::Search(facts) => facts,
        other => panic!("{other:?}"),
    }
}

fn sealed(result: TaskResult) -> SealFacts {
    match result {
        TaskResult::Seal(facts) => facts,
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_is_searched_or_named() {
    let world = world();
    let agent = Agent::start(&world);
    let facts = searched(agent.run("search", &Task::Search(search_task(&world))));
    assert!(facts.canary);
    let found = |credential: &str, form: &str, place: &str| {
        let found = facts.found.iter().find(|leak| {
            (&*leak.credential, &*leak.form, &*leak.place) == (credential, form, place)
        });
        found.map_or(0, |leak| leak.count)
    };
    let log = "harness/S1.log";
    for (credential, form, count) in [
        ("superuser", "raw", 1),
        ("superuser", "base64", 3),
        ("superuser", "hex", 1),
        ("superuser", "md5", 1),
        ("scenario-1", "hex", 1),
        ("scenario-1", "scram", 1),
        ("scenario-0-secret", "raw", 1),
        ("source", "raw", 1),
        ("source", "sql", 1),
        ("source", "json", 1),
        ("source", "scram", 1),
        ("source", "percent", 1),
        ("token-seal", "raw", 1),
    ] {
        assert_eq!(
            found(credential, form, log),
            count,
            "{credential} {form}: {:#?}",
            facts.found
        );
    }
    assert_eq!(found("source", "base64", "harness/undeclared.log"), 1);
    assert_eq!(found("superuser", "raw", "server/server.json"), 1);
    assert_eq!(found("superuser", "raw", "names of files"), 1);
    assert_eq!(facts.found_count, 18);
    assert!(facts.bytes > 64 << 20, "{}", facts.bytes);
    let unread: Vec<_> = facts
        .unread
        .iter()
        .map(|text| text.split_once(": ").unwrap().0)
        .collect();
    assert_eq!(
        unread,
        [
            "harness/closed",
            "harness/S3.log",
            "harness/directory",
            "harness/fifo",
            "harness/link"
        ],
        "{:?}",
        facts.unread
    );
    assert_eq!(facts.shapes["password in a URL"], 1);
    let told = serde_json::to_string(&facts).unwrap();
    assert!(!told.contains(PASSWORD) && !told.contains(r"\n"), "{told}");
}

#[test]
fn what_is_kept_is_clean_and_verified_without_the_cluster() {
    let world = world();
    let agent = Agent::start(&world);
    let archive = |token| agent.download("/v1/archive", token);
    assert_eq!(archive(None).0, 401);
    assert_eq!(archive(Some(TOKEN)).0, 404);
    let facts = sealed(agent.run("seal", &Task::Seal(seal_task(&world))));
    assert_eq!(archive(None).0, 401);
    let (status, media_type, bytes) = archive(Some(TOKEN));
    assert_eq!((status, &*media_type), (200, "application/zstd"));
    assert_eq!(digest::prefixed(&Sha256::digest(&bytes)), facts.archive);
    assert_eq!(bytes.len() as u64, facts.archive_bytes);

    let unpacked = world.directory("unpacked");
    let tar = zstd::stream::decode_all(&bytes[..]).unwrap();
    tar::Archive::new(&tar[..]).unpack(&unpacked).unwrap();
    let check = Command::new("sha256sum")
        .args(["--strict", "-c", "MANIFEST.sha256"])
        .current_dir(&unpacked)
        .output()
        .unwrap();
    assert!(check.status.success(), "{check:?}");
    let lines = String::from_utf8(check.stdout).unwrap();
    let expected = [
        "facts.json",
        "harness/S1.log",
        "harness/S2.log",
        "harness/S4.log",
        "server/server.jsonl",
        "trace/statements.jsonl",
    ];
    assert_eq!(lines, expected.map(|path| format!("{path}: OK\n")).concat());
    let names: Vec<_> = facts.files.iter().map(|file| &*file.path).collect();
    assert_eq!(names, expected);

    // The archive has what the facts say, and no secret or row.
    let read = |path: &str| fs::read_to_string(unpacked.join(path)).unwrap();
    assert_eq!(
        digest::prefixed(&Sha256::digest(read("MANIFEST.sha256"))),
        facts.manifest
    );
    let scenario = scenario_password(PASSWORD, UID, 1);
    let leaked = forms();
    let needles = leaked
        .iter()
        .map(|line| line.trim_start_matches("PGPASSWORD="))
        .chain([
            PASSWORD,
            &scenario,
            SOURCE,
            CANARY,
            TOKEN,
            "alice",
            "not traced",
        ]);
    for needle in needles {
        for file in &facts.files {
            assert!(
                !read(&file.path).contains(needle),
                "{needle} in {}",
                file.path
            );
        }
    }
    for file in &facts.files {
        assert_eq!(
            digest::prefixed(&Sha256::digest(read(&file.path))),
            file.sha256
        );
    }
    assert!(
        facts.search.canary && facts.search.found.is_empty(),
        "{:?}",
        facts.search
    );
    assert_eq!(facts.search.found_count, 0);
    let redacted: Vec<_> = facts.files.iter().map(|file| file.redacted).collect();
    assert_eq!(redacted, [1, 15, 0, 0, 0, 1]);
    assert_eq!(read("facts.json"), r#"{"leaked":"[redacted superuser]"}"#);
    assert_eq!(read("harness/S2.log"), "nothing to see\n");
    let sparse = &facts.files[3];
    assert_eq!(
        read("harness/S4.log"),
        format!("[cut here: {} more bytes]\n", 64 << 20)
    );
    assert_eq!(sparse.cut_bytes, 64 << 20);

    let lines = |path: &str| -> Vec<Value> {
        read(path)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let kept = lines("server/server.jsonl");
    let told: Vec<_> = kept
        .iter()
        .map(|line| {
            (
                line["sqlstate"].as_str().unwrap(),
                line["statement"].as_str(),
                line["message"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("00000", None, None),
            ("00000", None, None),
            ("23505", Some("INSERT"), None),
            (
                "42501",
                Some("DELETE"),
                Some("permission denied for table unit")
            ),
        ]
    );
    assert_eq!(
        lines("trace/statements.jsonl"),
        [json!({
            "time": "2026-11-26 19:40:01.123 UTC", "user": "cutter_exec", "session": "6744f1a1.1267",
            "statement": "SELECT set_config('x', '[redacted superuser]', true)",
        })]
    );
    assert_eq!(facts.changed_logs, ["harness/S3.log", "harness/S5.log"]);
    let dropped = facts.dropped.join("\n");
    for part in [
        "server/server.json: 3 statements that are not traced",
        "server/server.json: 1 lines that are too long or no JSON",
        "server/server.log: not evidence",
        "harness/S3.log: ",
        "harness/S5.log: ",
        "harness/undeclared.log: no log of a command that has ended",
        r"harness/deep/er/[redacted superuser]\n.log: ",
        "harness/link: ",
        "harness/fifo: ",
    ] {
        assert!(dropped.contains(part), "{part} in {dropped}");
    }

    // Everything in the archive is the same on every machine.
    for entry in tar::Archive::new(&tar[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!(
            (
                header.mode().unwrap(),
                header.mtime().unwrap(),
                header.uid().unwrap(),
                header.gid().unwrap()
            ),
            (0o444, 0, 0, 0)
        );
        entry.read_to_end(&mut Vec::new()).unwrap();
    }
    let again = sealed(agent.run("again", &Task::Seal(seal_task(&world))));
    assert_eq!(again.archive, facts.archive);
}
