//! A production server to be dumped.

use std::{fs, path::Path, process::Stdio};

use dryrun_core::{
    agent_api::{
        protocol::{Task, TaskResult},
        tasks::{DumpTask, Server},
    },
    api::{Authentication, SslMode},
    run::facts::DumpFacts,
};
use dryrun_postgres::{Options, Session};
use tokio_postgres::{Client, NoTls};

use super::{Agent, PASSWORD, Process, World, connect, free_port};

/// Rights of the dump role in the world of `source.sql`.
pub const RIGHTS: &str = "GRANT USAGE ON SCHEMA iu TO dump_ro; GRANT SELECT ON ALL TABLES IN SCHEMA iu TO dump_ro; \
    GRANT SELECT ON ALL SEQUENCES IN SCHEMA iu TO dump_ro; GRANT SELECT ON LARGE OBJECT 4242 TO dump_ro; ALTER ROLE dump_ro BYPASSRLS";

/// A production server with the database `directus` of `source.sql`, and a role `dump_ro` that may
/// do nothing yet.
pub struct Production {
    pub process: Process,
    pub port: u16,
    /// A superuser's session in `directus`.
    pub admin: Client,
    pub identifier: String,
}

impl Production {
    /// Starts it, with further `settings`; the secret `production` is the password of the dump
    /// role.
    pub async fn start(world: &World, programs: &Path, settings: &[&str]) -> Self {
        world.secret("admin", PASSWORD);
        world.secret("production", PASSWORD);
        let initdb = world
            .command(programs.join("initdb"))
            .args([
                "-D",
                "production",
                "-U",
                "postgres",
                "--pwfile",
                "secrets/admin",
                "--auth=scram-sha-256",
                "--locale=C.UTF-8",
                "--no-sync",
            ])
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(initdb.success());
        let port = free_port();
        let process = world
            .command(programs.join("postgres"))
            .args([
                "-D",
                "production",
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "unix_socket_directories=",
                "-c",
                "fsync=off",
                "-c",
            ])
            .arg(format!("port={port}"))
            .args(settings.iter().flat_map(|setting| ["-c", setting]))
            .stderr(fs::File::create(world.path("production.log")).unwrap())
            .spawn()
            .unwrap();
        let server = connect(port, "postgres", PASSWORD, "postgres").await;
        for role in [
            "app_owner NOLOGIN",
            "app_reader NOLOGIN",
            "cutter_exec LOGIN",
            "cutter_verify LOGIN",
            "readers NOLOGIN",
        ] {
            server
                .batch_execute(&format!("CREATE ROLE {role}"))
                .await
                .unwrap();
        }
        server
            .batch_execute(&format!(
                "CREATE ROLE dump_ro LOGIN PASSWORD '{PASSWORD}'; GRANT readers TO app_reader"
            ))
            .await
            .unwrap();
        server
            .batch_execute("CREATE DATABASE directus OWNER app_owner")
            .await
            .unwrap();
        let admin = connect(port, "postgres", PASSWORD, "directus").await;
        admin
            .batch_execute(include_str!("../source.sql"))
            .await
            .unwrap();
        let identity = dryrun_postgres::identity(&admin).await.unwrap();
        Self {
            process: Process(process),
            port,
            admin,
            identifier: identity.server.system_identifier,
        }
    }

    /// Opens a superuser's session in `directus` for readings.
    pub async fn session(&self) -> Session {
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(self.port)
            .user("postgres")
            .password(PASSWORD)
            .dbname("directus");
        Session::connect("connect", &mut config, &Options::superuser(0), NoTls)
            .await
            .unwrap()
    }

    /// Returns the server as the dump role reaches it.
    pub fn server(&self) -> Server {
        Server {
            host: "production.example".into(),
            address: "127.0.0.1".into(),
            port: self.port,
            user: "dump_ro".into(),
            database: "directus".into(),
            sslmode: SslMode::Prefer,
            authentication: Authentication::ScramSha256,
            ca_file: None,
            password_file: "production".into(),
        }
    }

    /// Lets the agent dump it into `dump/1`, after a `change` of the task.
    pub fn dump(
        &self,
        world: &World,
        agent: &Agent,
        id: &str,
        change: impl FnOnce(&mut DumpTask),
    ) -> DumpFacts {
        let mut task = DumpTask {
            server: self.server(),
            jobs: 2,
            lock_timeout_ms: 2000,
            system_identifier: self.identifier.clone(),
            directory: world.path("dump/1").display().to_string(),
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
