//! Replacements for official images with the same layout, so that workloads run unchanged on
//! either.

use std::fs;

use anyhow::Result;
use tokio::process::Command;

use super::{
    Archive, Image, Workshop,
    debian::{Recipe, Suite},
    layer::Tree,
    oci::Config,
};
use crate::toolchain::command;

/// Postgres of the given major version: user `postgres` with UID 999, programs in PATH, contrib
/// extensions installed. There is no entrypoint script, so the container's command names the
/// program.
pub(super) async fn postgres(
    workshop: &Workshop,
    image: Image,
    suite: Suite,
    major: u8,
) -> Result<Archive> {
    let name = format!("dryrun.local/postgres:{major}");
    layout(image, name, suite, major, None, Tree::default())
        .make(workshop)
        .await
}

/// The recipe of a Postgres image, with `upper` on top of the packages.
fn layout(
    image: Image,
    name: String,
    suite: Suite,
    major: u8,
    hook: Option<&'static str>,
    upper: Tree,
) -> Recipe {
    let server = format!("postgresql-{major}");
    let system = [
        "base-files",
        "libc-bin",
        "coreutils",
        "dash",
        "sed",
        "grep",
        "tzdata",
    ]
    .map(str::to_owned);
    let upper = upper
        .text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\npostgres:x:999:999::/var/lib/postgresql:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
        .text("etc/group", "root:x:0:\npostgres:x:999:\nnogroup:x:65534:\n")
        .text("etc/nsswitch.conf", NSSWITCH)
        .directory("var/lib/postgresql", 0o1777, 999)
        .directory("var/lib/postgresql/data", 0o1777, 999)
        .directory("run/postgresql", 0o3777, 999);
    let path = format!("PATH=/usr/lib/postgresql/{major}/bin:/usr/local/bin:/usr/bin:/bin");
    let config = Config {
        cmd: vec!["postgres"],
        env: vec![
            path,
            "LC_ALL=C.UTF-8".to_owned(),
            "PGDATA=/var/lib/postgresql/data".to_owned(),
        ],
        user: "999:999",
        working_dir: "/var/lib/postgresql",
        ..Config::default()
    };
    let packages = [server].into_iter().chain(system).collect();
    Recipe {
        image,
        name,
        suite,
        packages,
        hook,
        upper,
        config,
    }
}

/// Postgres 17 with a replacement for `initdb` in front of Debian's. No program of Postgres creates
/// a server with a given identifier, and a real copy of production's files would have to be rebuilt
/// for each cluster.
pub(super) async fn physical_copy(workshop: &Workshop) -> Result<Archive> {
    let directory = tempfile::tempdir()?;
    let (code, program) = (
        directory.path().join("initdb.c"),
        directory.path().join("initdb"),
    );
    fs::write(&code, include_str!("initdb.c"))?;
    let mut compiler = Command::new("cc");
    compiler
        .args(["-Os", "-static", "-s", "-Wl,--build-id=none", "-o"])
        .arg(&program)
        .arg(&code);
    command::run(&mut compiler, &workshop.cache.log("physical-copy")).await?;
    let upper = Tree::default().file("usr/lib/postgresql/17/bin/initdb", 0o755, &program);
    let name = "dryrun.local/postgres-physical-copy:17".to_owned();
    let hook = Some(
        r#"mv "$1/usr/lib/postgresql/17/bin/initdb" "$1/usr/lib/postgresql/17/bin/initdb-of-debian""#,
    );
    layout(Image::PhysicalCopy, name, Suite::Trixie, 17, hook, upper)
        .make(workshop)
        .await
}

/// Python 3 with psycopg, as `python3` and `python`.
pub(super) async fn python(workshop: &Workshop) -> Result<Archive> {
    let packages = [
        "python3",
        "python3-venv",
        "python3-psycopg",
        "python3-psycopg-c",
        "base-files",
        "libc-bin",
        "coreutils",
        "dash",
        "tzdata",
    ];
    let upper = Tree::default()
        .text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\napp:x:10002:10002::/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
        .text("etc/group", "root:x:0:\napp:x:10002:\nnogroup:x:65534:\n")
        .text("etc/nsswitch.conf", NSSWITCH)
        .link("usr/local/bin/python", "/usr/bin/python3")
        .link("usr/local/bin/python3", "/usr/bin/python3");
    let config = Config {
        cmd: vec!["python3"],
        env: vec![
            "PATH=/usr/local/bin:/usr/bin:/bin".to_owned(),
            "LC_ALL=C.UTF-8".to_owned(),
        ],
        user: "10002:10002",
        ..Config::default()
    };
    let recipe = Recipe {
        image: Image::Python,
        name: "dryrun.local/python:3".to_owned(),
        suite: Suite::Trixie,
        packages: packages.map(str::to_owned).to_vec(),
        hook: Some(BYTE_CODE),
        upper,
        config,
    };
    recipe.make(workshop).await
}

/// Compiles Python's library, which packages do at configuration: a container with a read-only root
/// would compile it at each start. The byte code is marked as unchecked, because an image does not
/// keep the source's time.
const BYTE_CODE: &str = r#"chroot "$1" sh -c 'python3 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/python3.* /usr/lib/python3'"#;

const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files dns\n";
