//! The images of the cluster, the demo and the tests, as OCI archives built here. Their names begin
//! with `dryrun.local/`, a registry that does not exist: a pod must set `imagePullPolicy: Never` or
//! `IfNotPresent`.

mod base;
mod debian;
mod layer;
mod oci;
mod official;
mod own;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use futures::future::try_join_all;

pub(crate) use own::{NETPOL, NETPOL_SOURCES};

use crate::toolchain::{
    cache::{Cache, Key},
    packages,
    progress::Progress,
    tools::Tools,
};

/// The image of every pod's sandbox.
pub(crate) const PAUSE: &str = "dryrun.local/pause:1";

/// An image that can be built here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Image {
    /// Holds a pod's namespaces; every node needs it.
    Pause,
    /// A shell and the common utilities.
    Busybox,
    /// CoreDNS.
    Dns,
    /// The volume provisioner.
    LocalPath,
    /// The operator: controller, agent and a CA bundle.
    Operator,
    /// Client and server that probe the network, for NetworkPolicy tests.
    Netprobe,
    /// Postgres 17 on Debian 13.
    Postgres17,
    /// Postgres 15 on Debian 12.
    Postgres15,
    /// Postgres 18 on Debian 14.
    Postgres18,
    /// Postgres 17 with an `initdb` that imitates a physical copy of production: the server gets
    /// production's system identifier.
    PhysicalCopy,
    /// Python 3 with psycopg on Debian 13.
    Python,
}

/// Images that every cluster needs.
pub(crate) const BASE: [Image; 4] = [Image::Pause, Image::Busybox, Image::Dns, Image::LocalPath];

/// An image archive, ready to be loaded into a cluster.
#[derive(Clone, Debug)]
pub struct Archive {
    /// The image.
    pub image: Image,
    /// The name by which a pod refers to it.
    pub name: String,
    /// Digest of its manifest.
    pub digest: String,
    /// The OCI archive.
    pub file: PathBuf,
}

/// Builder of images with its inputs and its cache.
#[derive(Clone)]
pub struct Workshop {
    /// Cache of finished images.
    pub cache: Cache,
    /// Shows what is being built.
    pub progress: Progress,
    /// The Go programs, some of which are the only content of an image.
    pub tools: Tools,
}

impl Workshop {
    /// A workshop on this machine's cache; builds the Go programs if they are not in it.
    ///
    /// # Errors
    /// There is no cache directory, or the build fails.
    pub async fn open(progress: &Progress) -> Result<Self> {
        let cache = Cache::open()?;
        packages::ensure_for_images(&cache, progress).await?;
        let tools = Tools::ensure(&cache, progress).await?;
        Ok(Self {
            cache,
            progress: progress.clone(),
            tools,
        })
    }

    /// The archives of `images` in the same order; missing ones are built concurrently.
    ///
    /// # Errors
    /// A build fails.
    pub async fn images(&self, images: &[Image]) -> Result<Vec<Archive>> {
        try_join_all(images.iter().map(async |image| {
            self.image(*image)
                .await
                .with_context(|| format!("building the image {image:?}"))
        }))
        .await
    }

    async fn image(&self, image: Image) -> Result<Archive> {
        match image {
            Image::Pause => base::pause(self).await,
            Image::Busybox => base::busybox(self).await,
            Image::Dns => base::dns(self).await,
            Image::LocalPath => base::local_path(self).await,
            Image::Operator => own::operator(self).await,
            Image::Netprobe => own::netprobe(self).await,
            Image::Postgres17 => official::postgres(self, image, debian::Suite::Trixie, 17).await,
            Image::Postgres15 => official::postgres(self, image, debian::Suite::Bookworm, 15).await,
            Image::Postgres18 => official::postgres(self, image, debian::Suite::Forky, 18).await,
            Image::PhysicalCopy => official::physical_copy(self).await,
            Image::Python => official::python(self).await,
        }
    }

    /// The cached archive of `image` under the name `name`, built by `make` if it is missing.
    async fn archive(
        &self,
        image: Image,
        name: String,
        key: Key,
        make: impl AsyncFnOnce(&Path) -> Result<(Vec<layer::Layer>, oci::Config)>,
    ) -> Result<Archive> {
        let key = key.text(&name).text(FORMAT);
        let directory = self
            .cache
            .entry("images", &key, async |draft| {
                let (layers, config) = make(draft).await?;
                let digest = oci::write(&draft.join(ARCHIVE), &name, layers, &config)?;
                Ok(std::fs::write(draft.join(DIGEST), digest)?)
            })
            .await?;
        let digest = std::fs::read_to_string(directory.join(DIGEST))
            .with_context(|| format!("reading {}", directory.display()))?;
        Ok(Archive {
            image,
            name,
            digest,
            file: directory.join(ARCHIVE),
        })
    }
}

/// Part of every cache key; changes with the archive format.
const FORMAT: &str = "1";
const ARCHIVE: &str = "image.tar";
const DIGEST: &str = "digest";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolchain::{cache, workspace};

    /// The operator must work with arbitrary images laid out like the official ones, so no code
    /// below `operator/` may name an image of this crate.
    #[test]
    fn the_operator_names_none_of_these_images() {
        let (registry, _) = PAUSE.split_once('/').unwrap();
        for path in cache::files(&workspace().join("operator")).unwrap() {
            let text = std::fs::read(&path).unwrap();
            let named = String::from_utf8_lossy(&text).contains(registry);
            assert!(!named, "{} names an image of {registry}", path.display());
        }
    }
}
