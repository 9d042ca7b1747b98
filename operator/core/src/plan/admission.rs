//! Check that the apiserver enforces the admission policies that approvals rest on.
//!
//! Who asked and who approved is proven by these policies alone: the apiserver keeps no record of
//! who made an object. So the policies in force are compared with those of the chart, and an object
//! that is older than the last change of a policy proves nothing.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use std::collections::BTreeMap;

use crate::problem::Problem;

/// Policy and binding that say who may request.
const REQUESTER: &str = "dryrun-requester";
/// Policy and binding that say who may approve what.
const APPROVER: &str = "dryrun-approver";
/// Policy and binding that keep the plan in a status the operator's own: approvers read it there.
const RECORDS: &str = "dryrun-records";

/// Result of the comparison of the policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Enforcement {
    /// Not checked: there is no plan yet, or the run has begun.
    #[default]
    Unseen,
    /// All are in force as the chart has them.
    Whole {
        /// Time of the last change to the objects that decide who may request.
        requester_since: Timestamp,
        /// Time of the last change to the objects that decide who may approve or show a plan.
        approver_since: Timestamp,
    },
    /// One is not: which one, and what to do.
    Broken(Problem),
}

/// Result of reading one object: nothing if there is none, or why it could not be read.
pub type Reading<K> = Result<Option<K>, String>;

/// Objects that were read, by name.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The policies.
    pub policies: BTreeMap<String, Reading<ValidatingAdmissionPolicy>>,
    /// Their bindings.
    pub bindings: BTreeMap<String, Reading<ValidatingAdmissionPolicyBinding>>,
}

/// The policies as the chart has them. Defaults of the apiserver are written out, so that equal
/// means equal.
#[derive(Clone, Debug)]
pub struct Policies {
    policies: BTreeMap<String, ValidatingAdmissionPolicySpec>,
    bindings: BTreeMap<String, ValidatingAdmissionPolicyBindingSpec>,
}

impl Policies {
    /// The chart's policies and bindings.
    ///
    /// # Errors
    /// A policy has no spec or no binding, or those are missing that approvals rest on.
    pub fn new(
        policies: Vec<ValidatingAdmissionPolicy>,
        bindings: Vec<ValidatingAdmissionPolicyBinding>,
    ) -> Result<Self, String> {
        let policies: BTreeMap<_, _> = policies
            .into_iter()
            .map(|policy| match (policy.name_any(), policy.spec) {
                (name, Some(spec)) => Ok((name, spec)),
                (name, None) => Err(format!("policy {name} has no spec")),
            })
            .collect::<Result<_, _>>()?;
        let bindings: BTreeMap<_, _> = bindings
            .into_iter()
            .map(|binding| (binding.name_any(), binding.spec))
            .collect();
        for name in [REQUESTER, APPROVER, RECORDS] {
            if !policies.contains_key(name) || !bindings.contains_key(name) {
                return Err(format!("there is no policy {name} with a binding"));
            }
        }
        let bound = |name: &String| bindings.values().any(|b| b.policy_name == *name);
        if let Some(name) = policies.keys().find(|name| !bound(name)) {
            return Err(format!("policy {name} has no binding"));
        }
        Ok(Self { policies, bindings })
    }

    /// Names of the policies.
    pub fn policies(&self) -> impl Iterator<Item = &str> {
        self.policies.keys().map(String::as_str)
    }

    /// Names of the bindings.
    pub fn bindings(&self) -> impl Iterator<Item = &str> {
        self.bindings.keys().map(String::as_str)
    }

    /// Compares what was read with what the chart has.
    pub fn judge(&self, found: &Found) -> Enforcement {
        let policies = self.policies.iter().map(|(name, spec)| {
            let equal = |policy: &ValidatingAdmissionPolicy| policy.spec.as_ref() == Some(spec);
            compare(name, found.policies.get(name), equal)
        });
        let bindings = self.bindings.iter().map(|(name, spec)| {
            let equal = |binding: &ValidatingAdmissionPolicyBinding| binding.spec == *spec;
            compare(name, found.bindings.get(name), equal)
        });
        if let Some(problem) = policies.chain(bindings).flatten().next() {
            return Enforcement::Broken(problem);
        }
        let since = |name: &str| {
            let policy = found.policies.get(name).and_then(read).map(changed);
            let binding = found.bindings.get(name).and_then(read).map(changed);
            policy.max(binding).unwrap_or(Timestamp::MAX)
        };
        Enforcement::Whole {
            requester_since: since(REQUESTER),
            approver_since: since(APPROVER).max(since(RECORDS)),
        }
    }
}

fn read<K>(reading: &Reading<K>) -> Option<&K> {
    reading.as_ref().ok().and_then(Option::as_ref)
}

/// Returns the difference of one object from the chart's, and its remedy.
fn compare<K: Resource<DynamicType = ()>>(
    name: &str,
    found: Option<&Reading<K>>,
    equal: impl Fn(&K) -> bool,
) -> Option<Problem> {
    let what = format!("{} {name}", K::kind(&()));
    match found {
        Some(Ok(Some(object))) if equal(object) => None,
        Some(Ok(Some(_))) => Some(Problem::permanent(
            "PolicyAltered",
            format!("{what} is not as the chart has it: {REPAIR}"),
        )),
        Some(Ok(None)) | None => Some(Problem::permanent(
            "PolicyMissing",
            format!("there is no {what}: {REPAIR}"),
        )),
        Some(Err(why)) => Some(Problem::permanent(
            "PolicyUnreadable",
            format!("{what} cannot be read: {why}"),
        )),
    }
}

/// Command that restores the chart's policies. Another field manager owns the altered fields, so
/// that Helm needs force.
const REPAIR: &str = "run `helm upgrade … --reuse-values --force-conflicts`";

/// Returns the time of the last change to an object's content.
///
/// Generation 1 is the spec that it was made with. Otherwise the newest entry of managedFields
/// decides, except those of its status; where there is none, the entries were removed, and the end
/// of time is the only answer that is safe.
fn changed<K: Resource<DynamicType = ()>>(object: &K) -> Timestamp {
    let ObjectMeta {
        generation,
        creation_timestamp,
        managed_fields,
        ..
    } = object.meta();
    let Some(created) = creation_timestamp.as_ref().map(|time| time.0) else {
        return Timestamp::MAX;
    };
    if *generation == Some(1) {
        return created;
    }
    let written = managed_fields
        .iter()
        .flatten()
        .filter(|entry| entry.subresource.as_deref().unwrap_or_default().is_empty())
        .filter_map(|entry| entry.time.as_ref().map(|time| time.0));
    written.max().unwrap_or(Timestamp::MAX).max(created)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn policy(name: &str) -> Value {
        json!({
            "metadata": {"name": name, "generation": 1, "creationTimestamp": "2026-05-17T12:00:00Z"},
            "spec": {"failurePolicy": "Fail", "validations": [{"expression": "false"}]},
        })
    }

    fn binding(name: &str) -> Value {
        json!({
            "metadata": {"name": name, "generation": 1, "creationTimestamp": "2026-05-17T12:00:10Z"},
            "spec": {"policyName": name, "validationActions": ["Deny", "Audit"]},
        })
    }

    fn all<K: serde::de::DeserializeOwned>(of: fn(&str) -> Value) -> Vec<K> {
        [REQUESTER, APPROVER, RECORDS, "dryrun-pods"]
            .map(|name| serde_json::from_value(of(name)).unwrap())
            .into()
    }

    fn chart() -> Policies {
        Policies::new(all(policy), all(binding)).unwrap()
    }

    fn live() -> Found {
        fn by_name<K: Resource<DynamicType = ()>>(all: Vec<K>) -> BTreeMap<String, Reading<K>> {
            all.into_iter()
                .map(|k| (k.name_any(), Ok(Some(k))))
                .collect()
        }
        Found {
            policies: by_name(all(policy)),
            bindings: by_name(all(binding)),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn broken(found: &Found) -> (String, String) {
        match chart().judge(found) {
            Enforcement::Broken(problem) => (problem.reason, problem.message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_in_force_as_the_chart_has_it_is_whole() {
        assert_eq!(
            chart().judge(&live()),
            Enforcement::Whole {
                requester_since: at("2026-05-17T12:00:10Z"),
                approver_since: at("2026-05-17T12:00:10Z"),
            }
        );
    }

    #[test]
    fn each_way_of_not_being_in_force_is_told() {
        let mut missing = live();
        missing.policies.insert("dryrun-pods".into(), Ok(None));
        let (reason, message) = broken(&missing);
        assert_eq!(reason, "PolicyMissing");
        assert!(
            message.starts_with("there is no ValidatingAdmissionPolicy dryrun-pods: run `helm")
        );

        let mut unbound = live();
        unbound.bindings.insert(APPROVER.into(), Ok(None));
        assert!(broken(&unbound).1.contains("PolicyBinding dryrun-approver"));

        let mut altered = live();
        let mut lenient = binding(REQUESTER);
        lenient["spec"]["validationActions"] = json!(["Audit"]);
        let lenient = serde_json::from_value(lenient).unwrap();
        altered.bindings.insert(REQUESTER.into(), Ok(Some(lenient)));
        assert_eq!(broken(&altered).0, "PolicyAltered");

        let mut weak = live();
        let mut ignoring = policy(APPROVER);
        ignoring["spec"]["failurePolicy"] = json!("Ignore");
        let ignoring = serde_json::from_value(ignoring).unwrap();
        weak.policies.insert(APPROVER.into(), Ok(Some(ignoring)));
        assert_eq!(broken(&weak).0, "PolicyAltered");

        let mut unreadable = live();
        unreadable
            .policies
            .insert(APPROVER.into(), Err("forbidden".into()));
        assert_eq!(broken(&unreadable).0, "PolicyUnreadable");
        assert_eq!(broken(&Found::default()).0, "PolicyMissing");
    }

    #[test]
    fn a_message_fits_into_a_condition() {
        let name = "dryrun-networkpolicies";
        let reading: Reading<ValidatingAdmissionPolicyBinding> = Ok(None);
        let message = compare(name, Some(&reading), |_| true).unwrap().message;
        assert!(message.chars().count() < 200, "{message}");
    }

    #[test]
    fn what_was_altered_and_put_right_has_changed() {
        let mut found = live();
        let mut restored = policy(APPROVER);
        restored["metadata"]["generation"] = json!(3);
        restored["metadata"]["managedFields"] = json!([
            {"manager": "helm", "operation": "Apply", "time": "2026-05-17T12:00:00Z"},
            {"manager": "kubectl-edit", "operation": "Update", "time": "2026-05-17T13:00:00Z"},
            {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "time": "2026-05-17T14:00:00Z"},
        ]);
        let set = |found: &mut Found, policy: &Value| {
            let policy: ValidatingAdmissionPolicy = serde_json::from_value(policy.clone()).unwrap();
            found.policies.insert(policy.name_any(), Ok(Some(policy)));
        };
        let approver_since = |found: &Found| match chart().judge(found) {
            Enforcement::Whole { approver_since, .. } => approver_since,
            other => panic!("{other:?}"),
        };
        set(&mut found, &restored);
        assert_eq!(approver_since(&found), at("2026-05-17T13:00:00Z"));
        // So has what shows the plan that is approved.
        let mut shown = policy(RECORDS);
        shown["metadata"]["generation"] = json!(2);
        shown["metadata"]["managedFields"] =
            json!([{"manager": "helm", "operation": "Apply", "time": "2026-05-17T15:00:00Z"}]);
        set(&mut found, &shown);
        assert_eq!(approver_since(&found), at("2026-05-17T15:00:00Z"));
        restored["metadata"]["managedFields"] = json!([]);
        set(&mut found, &restored);
        assert_eq!(approver_since(&found), Timestamp::MAX);
    }

    #[test]
    fn a_chart_without_what_approvals_rest_on_is_none() {
        let only = |names: &[&str], of: fn(&str) -> Value| -> Vec<Value> {
            names.iter().map(|name| of(name)).collect()
        };
        let new = |policies: &[&str], bindings: &[&str]| {
            let policies = serde_json::from_value(json!(only(policies, policy))).unwrap();
            let bindings = serde_json::from_value(json!(only(bindings, binding))).unwrap();
            Policies::new(policies, bindings).map(drop)
        };
        let all = [REQUESTER, APPROVER, RECORDS];
        assert_eq!(new(&all, &all), Ok(()));
        assert!(new(&all[..2], &all[..2]).is_err());
        assert!(new(&all, &all[..2]).is_err());
        assert!(new(&[REQUESTER, APPROVER, RECORDS, "more"], &all).is_err());
    }
}
