//! The chart's admission policies: what they are to be, from the files that the chart mounts, and
//! what they are, from the apiserver.

use anyhow::{Context as _, bail, ensure};
use dryrun_core::plan::admission::{self, Enforcement, Found, Reading};
use futures::future::try_join_all;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, call};

/// Time for which one look serves all waiting runs. Many are looked at when the operator starts.
const FRESH: Duration = Duration::from_secs(5);

/// The chart's policies, and the last look at them.
pub struct AdmissionPolicies {
    expected: admission::Policies,
    last: Mutex<Option<(Instant, Enforcement)>>,
}

impl AdmissionPolicies {
    /// Reads every `*.yaml` of a directory.
    ///
    /// # Errors
    /// A file cannot be read, holds something else, or the policies are not whole.
    pub fn load(directory: &Path) -> anyhow::Result<Self> {
        let (mut policies, mut bindings) = (Vec::new(), Vec::new());
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let file = || path.display().to_string();
            let text = std::fs::read_to_string(&path).with_context(file)?;
            for object in serde_saphyr::from_multiple::<Value>(&text).with_context(file)? {
                match object["kind"].as_str() {
                    Some("ValidatingAdmissionPolicy") => {
                        policies.push(serde_json::from_value(object).with_context(file)?);
                    }
                    Some("ValidatingAdmissionPolicyBinding") => {
                        bindings.push(serde_json::from_value(object).with_context(file)?);
                    }
                    other => bail!("{}: what is {other:?}?", file()),
                }
            }
        }
        ensure!(!policies.is_empty(), "there is no policy");
        let expected = admission::Policies::new(policies, bindings).map_err(anyhow::Error::msg)?;
        Ok(Self {
            expected,
            last: Mutex::default(),
        })
    }

    /// Returns the policies that are in force; `now` if a look of moments ago will not do.
    pub(crate) async fn look(&self, client: &Client, now: bool) -> Result<Enforcement, Error> {
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last().clone().filter(|(at, _)| at.elapsed() < FRESH);
        if let Some((_, enforcement)) = known.filter(|_| !now) {
            return Ok(enforcement);
        }
        let (policies, bindings) = futures::try_join!(
            all::<ValidatingAdmissionPolicy>(client, self.expected.policies()),
            all::<ValidatingAdmissionPolicyBinding>(client, self.expected.bindings()),
        )?;
        let enforcement = self.expected.judge(&Found { policies, bindings });
        *last() = Some((Instant::now(), enforcement.clone()));
        Ok(enforcement)
    }
}

/// The objects of these names.
async fn all<K>(
    client: &Client,
    names: impl Iterator<Item = &str>,
) -> Result<BTreeMap<String, Reading<K>>, Error>
where
    K: Resource<Scope = k8s_openapi::ClusterResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let read = names.map(async |name| {
        let reading = match call(format!("read {} {name}", K::kind(&())), api.get_opt(name)).await {
            Ok(found) => Ok(found),
            Err(error) if error.is_forbidden() => Err("forbidden".to_owned()),
            Err(Error::Kube {
                source: kube::Error::SerdeError(_),
                ..
            }) => Err("it is of another version".to_owned()),
            // A transient error says nothing about the policies.
            Err(error) => return Err(error),
        };
        Ok((name.to_owned(), reading))
    });
    Ok(try_join_all(read).await?.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICIES: &str = "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: dryrun-requester}
spec: {failurePolicy: Fail}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: dryrun-approver}
spec: {failurePolicy: Fail}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: dryrun-records}
spec: {failurePolicy: Fail}
";
    const BINDINGS: &str = "---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: dryrun-requester}
spec: {policyName: dryrun-requester, validationActions: [Deny]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: dryrun-approver}
spec: {policyName: dryrun-approver, validationActions: [Deny]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: dryrun-records}
spec: {policyName: dryrun-records, validationActions: [Deny]}
";

    fn load(files: &[(&str, &str)]) -> anyhow::Result<AdmissionPolicies> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        AdmissionPolicies::load(directory.path())
    }

    #[test]
    fn all_files_of_the_directory_count() {
        let loaded = load(&[("a.yaml", POLICIES), ("b.yaml", BINDINGS), ("c.txt", "?")]).unwrap();
        let names = ["dryrun-approver", "dryrun-records", "dryrun-requester"];
        assert!(loaded.expected.policies().eq(names));
        assert!(loaded.expected.bindings().eq(names));
    }

    #[test]
    fn without_the_policies_the_operator_does_not_start() {
        assert!(load(&[]).is_err());
        assert!(load(&[("a.yaml", POLICIES)]).is_err());
        assert!(load(&[("a.yaml", "{kind: Secret}")]).is_err());
        assert!(load(&[("a.yaml", "a: [")]).is_err());
    }
}
