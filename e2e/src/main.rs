//! `cargo cluster`, `cargo verify` and `cargo demo`.

use std::{
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{self, ExitCode},
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use dryrun_e2e::{
    cluster::{Cluster, Options},
    demo, generate,
    images::{Image, Workshop},
    outside,
    toolchain::{interrupt, packages, progress::Progress},
    verify,
};

/// Local cluster, checks and demo of the DryRun operator.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The local cluster.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Runs the main use case on a cluster and prints its result.
    Demo,
    /// Writes the files generated from code: the CRDs and the tables in docs/.
    Generate,
    /// Runs every check and every test.
    Verify,
    /// Serves the cluster's outside.
    #[command(hide = true)]
    Outside,
}

#[derive(Subcommand)]
enum ClusterCommand {
    /// Brings a cluster up.
    Up {
        /// Number of nodes.
        #[arg(long, default_value_t = 1)]
        nodes: u8,
        /// Provider of the cluster; `local` unless KUBECONFIG names a cluster.
        #[arg(long, value_enum)]
        provider: Option<Provider>,
        /// Start the NetworkPolicy agent in permissive mode, which enforces nothing.
        #[arg(long)]
        permissive: bool,
    },
    /// Takes the cluster down and proves that no part of it is left.
    Down,
    /// Prints the running components.
    Status,
    /// Builds images and prints their names and archives, for use in another cluster.
    Images {
        /// The images.
        #[arg(required = true)]
        images: Vec<Image>,
    },
    /// Builds images, loads them into the nodes and prints their names.
    Load {
        /// The images.
        #[arg(required = true)]
        images: Vec<Image>,
    },
    /// Prints the path of the administrator's kubeconfig.
    Kubeconfig,
    /// Gathers all logs in a directory.
    Logs {
        /// The directory; it is created if it does not exist.
        directory: PathBuf,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Provider {
    /// Processes of this machine in their own network namespaces; needs Linux and root.
    Local,
    /// Containers made by kind in Docker.
    Kind,
}

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            interrupt::exit_code(&error)
        }
    }
}

fn start() -> Result<()> {
    let command = Cli::parse().command;
    complete_path()?;
    tokio::runtime::Runtime::new()
        .context("starting the runtime")?
        .block_on(run(command))
}

/// Adds the system's directories to PATH for this program and its children. The environment of a
/// running program cannot be changed safely, so the program re-executes itself.
fn complete_path() -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    match packages::completed(&path) {
        None => Ok(()),
        Some(path) => Err(process::Command::new(program()?)
            .args(std::env::args_os().skip(1))
            .env("PATH", path)
            .exec())
        .context("restarting with a complete PATH"),
    }
}

/// Runs a command. Commands that bring a cluster up clean up after an interrupt; all others just
/// end.
async fn run(command: Command) -> Result<()> {
    interrupt::listen()?;
    match command {
        Command::Cluster(up @ ClusterCommand::Up { .. }) => cluster(up).await,
        Command::Cluster(command) => interrupt::unless(cluster(command)).await,
        Command::Demo => demo::run(program()?).await,
        Command::Generate => generate::run(),
        Command::Verify => verify::run(program()?).await,
        Command::Outside => interrupt::unless(outside::serve()).await,
    }
}

async fn cluster(command: ClusterCommand) -> Result<()> {
    let progress = Progress::new();
    match command {
        ClusterCommand::Up {
            nodes,
            provider,
            permissive,
        } => {
            let options = Options {
                nodes,
                permissive,
                program: program()?,
            };
            up(&options, provider, &progress).await
        }
        ClusterCommand::Down => Cluster::remove(&progress).await,
        ClusterCommand::Images { images } => {
            for archive in Workshop::open(&progress).await?.images(&images).await? {
                println!("{}  {}", archive.name, archive.file.display());
            }
            Ok(())
        }
        ClusterCommand::Load { images } => {
            for archive in running(&progress).await?.load_images(&images).await? {
                println!("{}", archive.name);
            }
            Ok(())
        }
        ClusterCommand::Kubeconfig => {
            println!("{}", running(&progress).await?.kubeconfig().display());
            Ok(())
        }
        ClusterCommand::Status => {
            print!("{}", running(&progress).await?.status().await?);
            Ok(())
        }
        ClusterCommand::Logs { directory } => running(&progress).await?.logs(&directory).await,
    }
}

async fn up(options: &Options, provider: Option<Provider>, progress: &Progress) -> Result<()> {
    let cluster = match provider {
        None if Cluster::is_given()? => {
            progress.say("KUBECONFIG is set: that cluster is used unchanged, and nothing has to be brought up");
            return Ok(());
        }
        None | Some(Provider::Local) => Cluster::up(options, progress).await?,
        Some(Provider::Kind) => Cluster::up_in_kind(options, progress).await?,
    };
    progress.say(&format!(
        "\nThe cluster is up.\n\n  export KUBECONFIG={}\n  {} get pods -A\n",
        cluster.kubeconfig().display(),
        cluster.kubectl().display()
    ));
    Ok(())
}

/// The cluster that `KUBECONFIG` names, otherwise the local one.
async fn running(progress: &Progress) -> Result<Cluster> {
    Cluster::find(progress)
        .await?
        .context("no cluster is running: bring one up with `cargo cluster up`")
}

/// Path of this program, which the local cluster runs as its outside.
fn program() -> Result<PathBuf> {
    std::env::current_exe().context("finding this program")
}
