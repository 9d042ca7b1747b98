//! C-11 and C-12: what was searched for credentials, and what is kept.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::problem::Problem;

/// Result of a search for credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeakFacts {
    /// Texts that were searched: files, containers' logs, objects.
    pub texts: u64,
    /// Bytes that were searched.
    pub bytes: u64,
    /// Credentials that were found; at most 20 stand here.
    pub found: Vec<Leak>,
    /// Number of occurrences of credentials.
    pub found_count: u64,
    /// Texts of the shape of a token or key, by the name of the shape: a warning, not a proof.
    pub shapes: BTreeMap<String, u64>,
    /// Items that could not be searched, with the reason; at most 20 stand here.
    pub unread: Vec<String>,
    /// The canary was found where it had been planted: the search finds what is there.
    pub canary: bool,
}

/// A credential where none may be.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Leak {
    /// Name of the credential, never its value.
    pub credential: String,
    /// The form in which it stood there: `raw`, `base64`, `hex`, `scram`, …
    pub form: String,
    /// The file, container or object.
    pub place: String,
    /// Number of occurrences.
    pub count: u64,
}

/// C-12: what the seal pod has put together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SealFacts {
    /// sha256 of the archive, `sha256:…`.
    pub archive: String,
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// sha256 of the manifest in it, `sha256:…`.
    pub manifest: String,
    /// The files in it, in the manifest's order.
    pub files: Vec<SealedFile>,
    /// Items that are not kept, with the reason.
    pub dropped: Vec<String>,
    /// Paths of logs that are not what they were when their command ended, or are gone. None of
    /// them is kept.
    pub changed_logs: Vec<String>,
    /// The search of what is kept, after the redaction. Its canary was put among it for this
    /// search.
    pub search: LeakFacts,
}

/// A file of the archive.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SealedFile {
    /// Path in the archive.
    pub path: String,
    /// Bytes.
    pub bytes: u64,
    /// sha256, `sha256:…`.
    pub sha256: String,
    /// Occurrences of credentials that were blotted out.
    pub redacted: u64,
    /// Bytes at its end that were cut for `evidence.maxSize`.
    pub cut_bytes: u64,
}

/// C-12: the evidence as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EvidenceFacts {
    /// The seal pod's claim.
    pub seal: SealFacts,
    /// C-12 was not reached: this was sealed early, from the files that existed.
    pub partial: bool,
    /// The ConfigMaps that hold the archive, in order.
    pub config_maps: Vec<String>,
    /// sha256 over what was read back from them, `sha256:…`.
    pub stored: String,
    /// Reason why nothing could be sealed.
    pub problem: Option<Problem>,
}
