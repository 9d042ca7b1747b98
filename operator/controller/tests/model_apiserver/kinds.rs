//! The kinds that are served, and how their lists are merged by server-side apply.

use serde_json::Value;

/// A kind of object.
#[derive(Clone, Debug)]
pub struct Kind {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub kind: String,
    pub namespaced: bool,
    /// It has a status subresource.
    pub status: bool,
    /// Its generation counts changes of the spec.
    pub generation: bool,
    /// Its OpenAPI schema; null for built-in kinds, which cannot be applied to here.
    pub schema: Value,
}

impl Kind {
    /// The kind that a CustomResourceDefinition defines, at its first version.
    pub fn custom(crd: &Value) -> Self {
        let (spec, version) = (&crd["spec"], &crd["spec"]["versions"][0]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            group: text(&spec["group"]),
            version: text(&version["name"]),
            plural: text(&spec["names"]["plural"]),
            kind: text(&spec["names"]["kind"]),
            namespaced: spec["scope"] == "Namespaced",
            status: version["subresources"]["status"].is_object(),
            generation: true,
            schema: version["schema"]["openAPIV3Schema"].clone(),
        }
    }

    /// `v1` or `group/version`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    pub fn is_custom(&self) -> bool {
        !self.schema.is_null()
    }
}

/// The built-in kinds that the operator works with: group, version, plural, kind, namespaced,
/// status, generation.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    bool,
    bool,
    bool,
);
const BUILT_IN: [Row; 16] = [
    ("", "v1", "namespaces", "Namespace", false, true, false),
    ("", "v1", "nodes", "Node", false, true, false),
    ("", "v1", "pods", "Pod", true, true, true),
    ("", "v1", "secrets", "Secret", true, false, false),
    ("", "v1", "configmaps", "ConfigMap", true, false, false),
    ("", "v1", "services", "Service", true, true, false),
    (
        "",
        "v1",
        "persistentvolumeclaims",
        "PersistentVolumeClaim",
        true,
        true,
        false,
    ),
    (
        "",
        "v1",
        "persistentvolumes",
        "PersistentVolume",
        false,
        true,
        false,
    ),
    (
        "",
        "v1",
        "resourcequotas",
        "ResourceQuota",
        true,
        true,
        false,
    ),
    ("events.k8s.io", "v1", "events", "Event", true, false, false),
    (
        "networking.k8s.io",
        "v1",
        "networkpolicies",
        "NetworkPolicy",
        true,
        false,
        true,
    ),
    (
        "storage.k8s.io",
        "v1",
        "storageclasses",
        "StorageClass",
        false,
        false,
        false,
    ),
    (
        "discovery.k8s.io",
        "v1",
        "endpointslices",
        "EndpointSlice",
        true,
        false,
        true,
    ),
    (
        "coordination.k8s.io",
        "v1",
        "leases",
        "Lease",
        true,
        false,
        false,
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicies",
        "ValidatingAdmissionPolicy",
        false,
        true,
        true,
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
        false,
        false,
        true,
    ),
];

/// All built-in kinds.
pub fn built_in() -> Vec<Kind> {
    BUILT_IN
        .iter()
        .map(
            |(group, version, plural, kind, namespaced, status, generation)| Kind {
                group: (*group).into(),
                version: (*version).into(),
                plural: (*plural).into(),
                kind: (*kind).into(),
                namespaced: *namespaced,
                status: *status,
                generation: *generation,
                schema: Value::Null,
            },
        )
        .collect()
}
