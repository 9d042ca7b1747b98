//! Stand-ins for official images, laid out as those are, so that what works with one works with the other.

use anyhow::Result;

use super::{
    Archive, Image, Workshop,
    debian::{Recipe, Suite},
    layer::Tree,
    oci::Config,
};

/// Postgres of the given major version: user `postgres` with number 999, programs in PATH, contrib extensions present. There is no
/// entrypoint script: whoever starts it names the program.
pub(super) async fn postgres(
    workshop: &Workshop,
    image: Image,
    suite: Suite,
    major: u8,
) -> Result<Archive> {
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
    let upper = Tree::default()
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
    let name = format!("dryrun.local/postgres:{major}");
    let packages = [server].into_iter().chain(system).collect();
    Recipe {
        image,
        name,
        suite,
        packages,
        hook: None,
        upper,
        config,
    }
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

/// Compiles Python's library, which packages leave to their configuration: a container whose root is read-only would do it anew at each
/// start. The code is marked as not to be compared with its source, whose time an image does not keep.
const BYTE_CODE: &str = r#"chroot "$1" sh -c 'python3 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/python3.* /usr/lib/python3'"#;

const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files dns\n";
