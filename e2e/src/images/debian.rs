//! Images built from Debian packages, which are extracted but not configured.

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
    layer::{self, Tree},
    oci::Config,
};
use crate::toolchain::{
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
    /// Debian 14, not yet released.
    Forky,
}

impl Suite {
    fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Forky => "forky",
        }
    }

    /// Debian's `Release` file of the suite, which changes with the version of any package. It is
    /// fetched at most once a day; without a network, an older one is used.
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

/// Maximum age of a suite's `Release` file before it is fetched again.
const RELEASE_IS_FRESH: Duration = Duration::from_secs(24 * 60 * 60);

/// apt's downloader, which uses the machine's proxy settings.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

/// Debian's package mirror.
const MIRROR: &str = "http://deb.debian.org/debian";

/// Paths excluded from every image: documentation, translations, package lists, and files that only
/// other programs of these packages use.
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

/// Parts of paths that are excluded too: Perl and the just-in-time compiler, which would triple the
/// size of a Postgres image.
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

/// An image built from packages, with an additional layer on top.
pub(super) struct Recipe {
    pub(super) image: Image,
    pub(super) name: String,
    pub(super) suite: Suite,
    /// Names of packages; their dependencies are added.
    pub(super) packages: Vec<String>,
    /// A shell command that is run on the extracted root, `$1`.
    pub(super) hook: Option<&'static str>,
    pub(super) upper: Tree,
    pub(super) config: Config,
}

impl Recipe {
    /// Builds the image.
    pub(super) async fn make(self, workshop: &Workshop) -> Result<Archive> {
        let Self {
            image,
            name,
            suite,
            packages,
            hook,
            upper,
            config,
        } = self;
        let upper = upper.layer()?;
        let extraction = Extraction {
            suite,
            packages,
            hook,
        };
        let key = extraction.key(&workshop.cache).await?;
        let key = key
            .text(&UNWANTED.join(" "))
            .text(&UNWANTED_PARTS.join(" "));
        let key = key.text(upper.digest()).text(&format!("{config:?}"));
        let making = format!("building {name} from Debian packages");
        let log = workshop.cache.log(&name.replace(['/', ':'], "-"));
        workshop
            .archive(image, name, key, async |draft| {
                let extracted = workshop
                    .progress
                    .phase(making, async |_| extraction.run(draft, &log).await)
                    .await?;
                let tar = extracted.tar;
                let layers = tokio::task::spawn_blocking(move || {
                    let layers = vec![layer::filtered(File::open(&tar)?, wanted)?, upper];
                    fs::remove_file(tar)?;
                    Ok::<_, anyhow::Error>(layers)
                });
                let labels = BTreeMap::from([(PACKAGES, extracted.packages)]);
                Ok((layers.await??, Config { labels, ..config }))
            })
            .await
    }
}

/// Image label that lists its packages with their versions.
pub(super) const PACKAGES: &str = "dev.dryrun.packages";

/// Packages to extract.
pub(super) struct Extraction {
    pub(super) suite: Suite,
    pub(super) packages: Vec<String>,
    pub(super) hook: Option<&'static str>,
}

/// Result of an extraction.
pub(super) struct Extracted {
    /// The files.
    pub(super) tar: PathBuf,
    /// The packages' file names, which include their versions.
    pub(super) packages: String,
}

impl Extraction {
    /// Digest of the packages, including their versions.
    pub(super) async fn key(&self, cache: &Cache) -> Result<Key> {
        let release = self.suite.release(cache).await?;
        Ok(Key::default()
            .text(&release)
            .text(&self.packages.join(" "))
            .text(self.hook.unwrap_or_default()))
    }

    /// Extracts into the directory `draft`.
    pub(super) async fn run(&self, draft: &Path, log: &Path) -> Result<Extracted> {
        let (tar, list) = (draft.join("root.tar"), draft.join("packages"));
        let mut mmdebstrap = Command::new("mmdebstrap");
        // Timestamps in files, such as byte code, do not depend on the build time.
        mmdebstrap.env("SOURCE_DATE_EPOCH", "0");
        mmdebstrap.args([
            "--variant=extract",
            "--format=tar",
            "--components=main",
            "--skip=download/empty",
        ]);
        mmdebstrap.arg(format!(
            "--extract-hook=ls \"$1/var/cache/apt/archives\" > '{}'",
            list.display()
        ));
        // An unreleased suite limits the validity of its list, and a mirror may lag behind.
        // Signatures are still checked.
        if matches!(self.suite, Suite::Forky) {
            mmdebstrap.arg("--aptopt=Acquire::Check-Valid-Until false");
        }
        if let Some(hook) = self.hook {
            mmdebstrap.arg(format!("--extract-hook={hook}"));
        }
        mmdebstrap.arg(format!("--include={}", self.packages.join(",")));
        mmdebstrap.arg(self.suite.name()).arg(&tar).arg(MIRROR);
        command::run(&mut mmdebstrap, log).await?;
        let files =
            fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
        fs::remove_file(&list)?;
        let packages: Vec<&str> = files
            .lines()
            .filter(|file| file.ends_with(".deb"))
            .collect();
        Ok(Extracted {
            tar,
            packages: packages.join(" "),
        })
    }
}
