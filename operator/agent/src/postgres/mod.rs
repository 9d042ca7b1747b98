//! `dryrun-agent postgres`: makes the copy's empty server and becomes it.

mod hba;
mod settings;

use std::{
    env, fs,
    fs::OpenOptions,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::Command,
};

use dryrun_core::agent_api::copy_server::{POSTGRES_ENV, PostgresConfig};
use dryrun_core::problem::Problem;
use dryrun_core::run::layout::SUPERUSER_FILE;

use crate::{
    directory,
    failure::{self, Result},
    program::Programs,
};

/// Exit code of a server that was not started.
const REFUSED: i32 = 1;

/// Becomes the server, so that it is PID 1 and gets the kubelet's signals. Returns only when that
/// failed, with the exit code.
pub(crate) fn run(secrets: &Path, termination_log: &Path) -> i32 {
    let error = match start(secrets) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    eprintln!("{error}");
    // For the operator, which does not read logs. The file is the kubelet's: where there is none,
    // no reader exists.
    let told = serde_json::to_vec(&error)
        .map_err(io::Error::from)
        .and_then(|message| {
            OpenOptions::new()
                .write(true)
                .truncate(true)
                .open(termination_log)?
                .write_all(&message)
        });
    if let Err(error) = told {
        eprintln!("{}: {error}", termination_log.display());
    }
    REFUSED
}

fn start(secrets: &Path) -> Result<std::convert::Infallible> {
    let config = config()?;
    let programs = Programs::find()?;
    let data = Path::new(&config.data_directory);
    refuse_existing(&programs, &config)?;
    initialize(&programs, &config, &secrets.join(SUPERUSER_FILE))?;
    prove_new(&programs, &config)?;
    let write = |name: &str, text: &str, append: bool| {
        let path = data.join(name);
        OpenOptions::new()
            .append(append)
            .write(true)
            .truncate(!append)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| failure::file(&path, &error))
    };
    write(
        "postgresql.conf",
        &settings::render(&config, directory::free_bytes(data)?)?,
        true,
    )?;
    write("pg_hba.conf", &hba::render(&config)?, false)?;
    accept(&programs, data)?;
    let error = programs.command("postgres").arg("-D").arg(data).exec();
    Err(failure::file(programs.path("postgres"), &error))
}

fn config() -> Result<PostgresConfig> {
    let text = env::var(POSTGRES_ENV)
        .map_err(|error| Problem::permanent("InvalidConfig", format!("{POSTGRES_ENV}: {error}")))?;
    serde_json::from_str(&text)
        .map_err(|error| Problem::permanent("InvalidConfig", format!("{POSTGRES_ENV}: {error}")))
}

/// Refuses a data directory that has anything in it, without touching it. One with a server in it
/// may be a physical copy of production.
fn refuse_existing(programs: &Programs, config: &PostgresConfig) -> Result<()> {
    let data = Path::new(&config.data_directory);
    if directory::is_empty(data).map_err(|error| failure::file(data, &error))? {
        return Ok(());
    }
    if !data.join("PG_VERSION").exists() {
        return Err(Problem::permanent(
            "DataDirectoryNotEmpty",
            format!("{} is not empty", data.display()),
        ));
    }
    let whose = match system_identifier(programs, data) {
        Ok(identifier) if is(&identifier, &config.forbidden_system_identifier) => {
            let message = format!(
                "{} holds a physical copy of production (system identifier {identifier})",
                data.display()
            );
            return Err(Problem::permanent("CopyIsProduction", message));
        }
        Ok(identifier) => format!("with the system identifier {identifier}"),
        Err(error) => format!("whose system identifier cannot be read ({})", error.message),
    };
    Err(Problem::permanent(
        "DataDirectoryNotEmpty",
        format!("{} already holds a server {whose}", data.display()),
    ))
}

/// The new server is not production, before it writes its first byte as a server.
fn prove_new(programs: &Programs, config: &PostgresConfig) -> Result<()> {
    let unreadable = |why: &str| {
        Err(Problem::permanent(
            "CopyUnreadable",
            format!("the copy cannot be told from production: {why}"),
        ))
    };
    let forbidden = &config.forbidden_system_identifier;
    if forbidden.parse::<u64>().is_err() {
        return unreadable("production's system identifier is no number");
    }
    match system_identifier(programs, Path::new(&config.data_directory)) {
        Ok(identifier) if is(&identifier, forbidden) => Err(Problem::permanent(
            "CopyIsProduction",
            format!("the copy has production's system identifier {forbidden}"),
        )),
        Ok(_) => Ok(()),
        Err(error) => unreadable(&error.message),
    }
}

/// `pg_controldata` reads a server that is not running.
fn system_identifier(programs: &Programs, data: &Path) -> Result<String> {
    let output = succeed(
        programs.command("pg_controldata").arg("-D").arg(data),
        "pg_controldata",
        "ControlDataUnreadable",
    )?;
    output
        .lines()
        .find_map(|line| line.strip_prefix("Database system identifier:"))
        .map(|identifier| identifier.trim().to_owned())
        .ok_or_else(|| {
            Problem::permanent(
                "ControlDataUnreadable",
                "pg_controldata prints no system identifier",
            )
        })
}

fn is(identifier: &str, other: &str) -> bool {
    matches!((identifier.parse::<u64>(), other.parse::<u64>()), (Ok(a), Ok(b)) if a == b)
}

fn initialize(programs: &Programs, config: &PostgresConfig, password: &Path) -> Result<()> {
    let version = succeed(
        programs.command("initdb").arg("--version"),
        "initdb",
        "InitFailed",
    )?;
    let mut command = programs.command("initdb");
    command
        .args([
            "--pgdata",
            &config.data_directory,
            "--username",
            &config.bootstrap_role,
            "--pwfile",
        ])
        .arg(password)
        .args(settings::initdb(
            &config.requirements,
            crate::program::major(&version).unwrap_or_default(),
        ));
    succeed(&mut command, "initdb", "InitFailed")
        .map(drop)
        .map_err(|error| {
            if error.message.contains("locale") {
                Problem {
                    reason: "LocaleUnavailable".into(),
                    ..error
                }
            } else {
                error
            }
        })?;
    fs::create_dir_all(&config.log_directory)
        .map_err(|error| failure::file(&config.log_directory, &error))
}

/// Lets the server read its configuration: a setting of the source that this image's server
/// refuses, such as a time zone that it does not have, is named.
fn accept(programs: &Programs, data: &Path) -> Result<()> {
    succeed(
        programs
            .command("postgres")
            .arg("-D")
            .arg(data)
            .args(["-C", "port"]),
        "postgres",
        "SettingRefused",
    )
    .map(drop)
}

/// Runs a program to its end before anything serves: there is nothing else to wait for yet.
fn succeed(command: &mut Command, name: &str, reason: &str) -> Result<String> {
    let output = command
        .output()
        .map_err(|error| Problem::permanent(reason, format!("{name}: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let said = stderr
        .lines()
        .find(|line| {
            ["error:", "invalid value", "unrecognized"]
                .iter()
                .any(|sign| line.contains(sign))
        })
        .or(stderr.lines().next())
        .unwrap_or_default();
    Err(Problem::permanent(
        reason,
        format!("{name} ended with {}: {said}", output.status),
    ))
}
