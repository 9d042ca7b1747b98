//! The agent of a run's pods: one statically linked file that an init container brings into
//! unmodified images.
//!
//! It has no API token and reaches nothing but what its pod may reach. The operator talks to it
//! through a port-forward, see [`dryrun_core::agent_api`].

mod children;
mod connection;
mod directory;
mod door;
mod echo;
mod failure;
mod install;
mod postgres;
mod probe;
mod program;
mod registry;
mod scratch;
mod serve;
mod task;
mod tls;
mod volume;

use std::{io, path::PathBuf, process};

use anyhow::Result;
use clap::{Parser, Subcommand};
use dryrun_core::run::layout;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::runtime::Runtime;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    prelude::*,
};

#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copies this program, and the CA bundle of its image next to it.
    Install {
        /// The file to write.
        destination: PathBuf,
    },
    /// Serves the control channel on loopback.
    Serve(serve::Serve),
    /// Makes the copy's empty server from DRYRUN_POSTGRES and becomes it.
    Postgres {
        /// Directory with the password of the bootstrap role.
        #[arg(long, value_name = "DIR", default_value = layout::SECRETS_DIR)]
        secrets: PathBuf,
        /// File that the kubelet reads when the container has ended.
        #[arg(long, value_name = "FILE", default_value = "/dev/termination-log")]
        termination_log: PathBuf,
    },
}

fn main() -> Result<()> {
    // Code of the user's may run as the same user: it must neither trace this process nor read its
    // memory, where passwords of later logins pass.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // Libraries' messages may quote rows.
    let own = Targets::new().with_target(env!("CARGO_CRATE_NAME"), LevelFilter::INFO);
    let to_stderr = fmt::layer().json().with_writer(io::stderr).with_filter(own);
    tracing_subscriber::registry().with(to_stderr).init();
    match Arguments::parse().command {
        Command::Install { destination } => install::run(&destination),
        // Not by returning: a task on its own thread must not hold up the exit.
        Command::Serve(options) => process::exit(Runtime::new()?.block_on(serve::run(options))?),
        Command::Postgres {
            secrets,
            termination_log,
        } => process::exit(postgres::run(&secrets, &termination_log)),
    }
}
