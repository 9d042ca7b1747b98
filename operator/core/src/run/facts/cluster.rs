//! Facts about the cluster: before the run, in the middle of it, and after it.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use super::SourceIdentity;
use crate::problem::Problem;

/// C-01: the cluster before anything is created.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PreflightFacts {
    /// Names of the run's objects that already exist with another owner, as `Kind/name`.
    pub taken: Vec<String>,
    /// Number of names that were looked at.
    pub names: u32,
    /// The StorageClass of the volumes.
    pub storage_class: Option<StorageClassFacts>,
    /// Missing prerequisites of the namespace or that of probes. Quotas are not looked at.
    pub missing_prerequisites: Vec<String>,
    /// The protected workloads as they were.
    pub protected: Vec<PodFingerprint>,
    /// Reasons why protected workloads could not be recorded.
    pub protected_errors: Vec<String>,
}

/// A StorageClass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageClassFacts {
    /// Name.
    pub name: String,
    /// Its reclaim policy: must be Delete.
    pub reclaim_policy: String,
}

/// A pod as it stood at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodFingerprint {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Its containers by name.
    pub containers: BTreeMap<String, ContainerFingerprint>,
}

/// A container as it stood at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerFingerprint {
    /// Runtime ID.
    pub container_id: String,
    /// Image ID.
    pub image_id: String,
    /// Start time.
    pub started_at: String,
    /// Restarts so far.
    pub restarts: i32,
}

/// C-02: the run's Secret as it was read back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretFacts {
    /// UID of the Secret.
    pub uid: String,
    /// It can no longer be changed.
    pub immutable: bool,
    /// Its keys.
    pub keys: Vec<String>,
    /// Keys whose value is not 32 characters of `[A-Za-z0-9]`.
    pub malformed: Vec<String>,
}

/// A pod of the run as the apiserver has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodInspection {
    /// UID of the pod.
    pub uid: String,
    /// Keys of Secrets that it mounts or has in its environment, as `secret/key`; `secret/*` for a
    /// whole one.
    pub secrets: BTreeSet<String>,
    /// Files of Secrets whose mode is not 0440, as `volume mode`.
    pub modes: Vec<String>,
    /// Image references and the image IDs that they meant, by container; no ID of one that has not
    /// begun.
    pub images: BTreeMap<String, (String, String)>,
    /// In what it is not the pod that was built, what it may do and should not, and what lets it be
    /// reached or reach more than it should.
    pub violations: Vec<String>,
}

/// C-13.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TeardownFacts {
    /// The protected workloads as they are now.
    pub protected: Option<Vec<PodFingerprint>>,
    /// Reasons why they could not be checked.
    pub protected_errors: Vec<String>,
    /// Production's identity, read again.
    pub identity: Option<SourceIdentity>,
    /// Reason why it could not be read.
    pub identity_error: Option<Problem>,
    /// Objects of the run that were still found by the last look, as `Kind/name`.
    pub left: Vec<String>,
    /// Both looks, by name and by label, found nothing.
    pub proven: bool,
    /// Reason why the proof failed.
    pub proof_error: Option<String>,
}

/// Returns the differences between two looks at the same workloads.
pub fn protected_changes(before: &[PodFingerprint], now: &[PodFingerprint]) -> Vec<String> {
    fn by_name(pods: &[PodFingerprint]) -> BTreeMap<(&str, &str), &PodFingerprint> {
        pods.iter()
            .map(|p| ((p.namespace.as_str(), p.name.as_str()), p))
            .collect()
    }
    let (before, now) = (by_name(before), by_name(now));
    let gone = before
        .keys()
        .filter(|k| !now.contains_key(*k))
        .map(|(ns, name)| format!("{ns}/{name} is gone"));
    let came = now
        .keys()
        .filter(|k| !before.contains_key(*k))
        .map(|(ns, name)| format!("{ns}/{name} is new"));
    let other = before.iter().filter_map(|(key @ (ns, name), pod)| {
        let found = now.get(key)?;
        if found.uid != pod.uid {
            return Some(format!("{ns}/{name} was replaced"));
        }
        (found.containers != pod.containers).then(|| format!("{ns}/{name} restarted"))
    });
    gone.chain(came).chain(other).collect()
}
