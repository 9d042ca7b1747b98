//! Images made of Debian packages, extracted and not configured: laid out as the official images are, so that what works with one works
//! with the other.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::process::Command;

use super::{
    Archive, Image, Workshop,
    layer::{self, Layer, Tree},
    oci::Config,
};
use crate::{
    cache::{Cache, Key},
    command,
};

/// A Debian release.
#[derive(Clone, Copy, Debug)]
pub(super) enum Suite {
    /// Debian 12.
    Bookworm,
    /// Debian 13.
    Trixie,
}

impl Suite {
    fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }

    /// Debian's `Release` file of the suite: it changes with the version of any package. It is fetched at most once a day, and an old
    /// one is good enough where there is no network.
    async fn release(self, cache: &Cache) -> Result<String> {
        let directory = cache.directory("debian");
        fs::create_dir_all(&directory)?;
        let kept = directory.join(format!("{}.release", self.name()));
        let modified = fs::metadata(&kept).and_then(|metadata| metadata.modified());
        if modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age < RELEASE_IS_FRESH)) {
            return fs::read_to_string(&kept)
                .with_context(|| format!("reading {}", kept.display()));
        }
        let fetched = tempfile::Builder::new()
            .prefix(".fetching-")
            .tempdir_in(&directory)?;
        let file = fetched.path().join("Release");
        let mut apt = Command::new(APT_HELPER);
        apt.arg("download-file")
            .arg(format!("{MIRROR}/dists/{}/Release", self.name()))
            .arg(&file);
        match command::stdout(&mut apt).await {
            Ok(_) => {
                let release = fs::read_to_string(&file)
                    .with_context(|| format!("reading {}", file.display()))?;
                fs::write(&kept, &release)
                    .with_context(|| format!("writing {}", kept.display()))?;
                Ok(release)
            }
            Err(error) => fs::read_to_string(&kept).map_err(|_| error),
        }
    }
}

/// How long a suite's `Release` file is taken for the present one.
const RELEASE_IS_FRESH: Duration = Duration::from_secs(24 * 60 * 60);

/// apt's own downloader, which heeds the machine's settings for proxies.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

/// Where Debian's packages are.
const MIRROR: &str = "http://deb.debian.org/debian";

/// Left out of every image: documentation, translations, package lists, and what only other programs of these packages would use.
const UNWANTED: &[&str] = &[
    "usr/share/doc/",
    "usr/share/man/",
    "usr/share/locale/",
    "usr/share/i18n/",
    "usr/share/perl",
    "usr/lib/systemd/",
    "var/cache/apt/",
    "var/lib/apt/",
    "var/log/",
];

/// Parts of paths, left out likewise: Perl and the just-in-time compiler, which would triple the size of a Postgres image.
const UNWANTED_PARTS: &[&str] = &[
    "/share/perl5/",
    "-gnu/perl",
    "-gnu/gconv/",
    "/libLLVM",
    "/libz3",
    "/llvmjit",
    "/bitcode/",
];

fn wanted(path: &str) -> bool {
    !UNWANTED.iter().any(|prefix| path.starts_with(prefix))
        && !UNWANTED_PARTS.iter().any(|part| path.contains(part))
}

/// Postgres of the given major version, as the official image has it: user `postgres` with number 999, programs in PATH, contrib
/// extensions present. There is no entrypoint script: whoever starts it names the program.
pub(super) async fn postgres(
    workshop: &Workshop,
    image: Image,
    suite: Suite,
    major: u8,
) -> Result<Archive> {
    let packages = [
        &format!("postgresql-{major}"),
        "base-files",
        "libc-bin",
        "coreutils",
        "dash",
        "sed",
        "grep",
        "tzdata",
    ]
    .join(",");
    let path = match major {
        15 => "PATH=/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/bin:/bin",
        _ => "PATH=/usr/lib/postgresql/17/bin:/usr/local/bin:/usr/bin:/bin",
    };
    let upper = Tree::default()
        .text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\npostgres:x:999:999::/var/lib/postgresql:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
        .text("etc/group", "root:x:0:\npostgres:x:999:\nnogroup:x:65534:\n")
        .text("etc/nsswitch.conf", NSSWITCH)
        .directory("var/lib/postgresql", 0o1777, 999)
        .directory("var/lib/postgresql/data", 0o1777, 999)
        .directory("run/postgresql", 0o1777, 999);
    let config = Config {
        cmd: vec!["postgres"],
        env: vec![path, "LC_ALL=C.UTF-8", "PGDATA=/var/lib/postgresql/data"],
        user: "999:999",
        working_dir: "/var/lib/postgresql",
        ..Config::default()
    };
    debian(
        workshop,
        image,
        format!("dryrun.local/postgres:{major}"),
        suite,
        &packages,
        upper,
        config,
    )
    .await
}

/// Python 3 with psycopg, as `python3` and `python`.
pub(super) async fn python(workshop: &Workshop) -> Result<Archive> {
    let upper = Tree::default()
        .text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\napp:x:10002:10002::/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
        .text("etc/group", "root:x:0:\napp:x:10002:\nnogroup:x:65534:\n")
        .text("etc/nsswitch.conf", NSSWITCH)
        .link("usr/local/bin/python", "/usr/bin/python3")
        .link("usr/local/bin/python3", "/usr/bin/python3");
    let config = Config {
        cmd: vec!["python3"],
        env: vec!["PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C.UTF-8"],
        user: "10002:10002",
        ..Config::default()
    };
    let packages = "python3,python3-venv,python3-psycopg,base-files,libc-bin,coreutils,dash,tzdata";
    debian(
        workshop,
        Image::Python,
        "dryrun.local/python:3".to_owned(),
        Suite::Trixie,
        packages,
        upper,
        config,
    )
    .await
}

const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files dns\n";

/// A layer of packages below a layer of our own.
async fn debian(
    workshop: &Workshop,
    image: Image,
    name: String,
    suite: Suite,
    packages: &str,
    upper: Tree,
    config: Config,
) -> Result<Archive> {
    let upper = upper.layer()?;
    let key = Key::default()
        .text(&suite.release(&workshop.cache).await?)
        .text(packages)
        .text(&UNWANTED.join(" "))
        .text(&UNWANTED_PARTS.join(" "));
    let key = key.text(upper.digest()).text(&format!("{config:?}"));
    let log = name.rsplit('/').next().unwrap_or(&name).replace(':', "-");
    workshop
        .archive(image, name.clone(), key, async |draft| {
            workshop
                .progress
                .phase(format!("making {name} from Debian packages"), async |_| {
                    let (tar, versions) = extract(workshop, suite, packages, draft, &log).await?;
                    let layers = tokio::task::spawn_blocking(move || {
                        let layers = vec![layer::filtered(File::open(&tar)?, wanted)?, upper];
                        fs::remove_file(tar)?;
                        Ok::<_, anyhow::Error>(layers)
                    })
                    .await??;
                    Ok((
                        layers,
                        Config {
                            labels: BTreeMap::from([("dev.dryrun.packages", versions)]),
                            ..config
                        },
                    ))
                })
                .await
        })
        .await
}

/// The files of `packages` and of all that they depend on, as a tar, and the names of the package files that went into it.
async fn extract(
    workshop: &Workshop,
    suite: Suite,
    packages: &str,
    draft: &Path,
    log: &str,
) -> Result<(PathBuf, String)> {
    let (tar, list) = (draft.join("root.tar"), draft.join("packages"));
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.env("SOURCE_DATE_EPOCH", "0");
    mmdebstrap.args([
        "--mode=root",
        "--variant=extract",
        "--format=tar",
        "--components=main",
        "--skip=download/empty",
    ]);
    mmdebstrap.arg(format!(
        "--extract-hook=ls \"$1/var/cache/apt/archives\" > '{}'",
        list.display()
    ));
    mmdebstrap
        .arg(format!("--include={packages}"))
        .arg(suite.name())
        .arg(&tar)
        .arg(MIRROR);
    command::run(&mut mmdebstrap, &workshop.cache.log(log)).await?;
    let versions =
        fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
    fs::remove_file(&list)?;
    Ok((
        tar,
        versions
            .lines()
            .filter(|file| file.ends_with(".deb"))
            .collect::<Vec<_>>()
            .join(" "),
    ))
}

/// Busybox, and a link for each program that it can be.
pub(super) async fn busybox(workshop: &Workshop) -> Result<Archive> {
    const PACKAGE: &str = "busybox-static";
    let name = "dryrun.local/busybox:1".to_owned();
    let key = Key::default()
        .text(&Suite::Trixie.release(&workshop.cache).await?)
        .text(PACKAGE);
    workshop
        .archive(Image::Busybox, name.clone(), key, async |draft| {
            workshop
                .progress
                .phase(format!("making {name} from Debian packages"), async |_| {
                    let (tar, versions) = extract(workshop, Suite::Trixie, PACKAGE, draft, "busybox").await?;
                    let program = draft.join("busybox");
                    for entry in tar::Archive::new(File::open(&tar)?).entries()? {
                        let mut entry = entry?;
                        if entry.header().entry_type().is_file() && entry.path()?.ends_with("bin/busybox") {
                            entry.unpack(&program)?;
                        }
                    }
                    let applets = command::stdout(Command::new(&program).arg("--list")).await?;
                    let mut tree = Tree::default()
                        .file("bin/busybox", 0o755, &program)
                        .directory("tmp", 0o1777, 0)
                        .directory("root", 0o700, 0)
                        .text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n");
                    for applet in applets.lines().filter(|applet| *applet != "busybox") {
                        tree = tree.link(&format!("bin/{applet}"), "busybox");
                    }
                    let layers: Vec<Layer> = vec![tree.with_parents().layer()?];
                    fs::remove_file(program)?;
                    fs::remove_file(tar)?;
                    let labels = BTreeMap::from([("dev.dryrun.packages", versions)]);
                    Ok((layers, Config { cmd: vec!["sh"], env: vec!["PATH=/bin"], labels, ..Config::default() }))
                })
                .await
        })
        .await
}
