//! Effective permissions of the roles, according to the apiserver's authorizer.

use anyhow::{Result, ensure};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use kube::api::PostParams;

use crate::actors::{Actor, Actors};
use crate::release::{PROBES, PROTECTED, REHEARSAL};

/// Requests `verb resource[/subresource] [name]` in a namespace, all with the same expected answer.
struct Line {
    namespace: &'static str,
    group: &'static str,
    allowed: bool,
    what: &'static [&'static str],
}

const fn may(namespace: &'static str, group: &'static str, what: &'static [&'static str]) -> Line {
    Line {
        namespace,
        group,
        allowed: true,
        what,
    }
}

const fn may_not(
    namespace: &'static str,
    group: &'static str,
    what: &'static [&'static str],
) -> Line {
    Line {
        namespace,
        group,
        allowed: false,
        what,
    }
}

/// The operator's required permissions, and the ones that it must lack: approve, exec into pods,
/// read every Secret, raise its own permissions.
const OPERATOR: &[Line] = &[
    may(
        "",
        "dryrun.dev",
        &[
            "list dryruns",
            "watch dryruns",
            "patch dryruns",
            "patch dryruns/status",
            "list dryrunapprovals",
        ],
    ),
    may(
        "",
        "dryrun.dev",
        &[
            "get dryrunreports",
            "watch dryrunreports",
            "create dryrunreports",
            "delete dryrunreports",
            "patch dryrunreports/status",
        ],
    ),
    may_not(
        "",
        "dryrun.dev",
        &[
            "create dryruns",
            "delete dryruns",
            "get dryrunapprovals",
            "create dryrunapprovals",
            "delete dryrunapprovals",
            "approve dryruns",
        ],
    ),
    may(
        REHEARSAL,
        "",
        &[
            "create pods",
            "delete pods",
            "watch pods",
            "get pods/portforward",
            "create pods/portforward",
        ],
    ),
    may(
        REHEARSAL,
        "",
        &[
            "create secrets",
            "get secrets",
            "delete secrets",
            "create persistentvolumeclaims",
            "get configmaps",
            "create configmaps",
            "get pods/log",
            "list services",
            "list events",
        ],
    ),
    may(
        PROBES,
        "",
        &[
            "create pods",
            "delete pods",
            "watch pods",
            "create pods/portforward",
        ],
    ),
    may_not(
        PROBES,
        "",
        &[
            "get secrets",
            "create secrets",
            "get configmaps",
            "create pods/exec",
            "get pods/log",
            "create services",
        ],
    ),
    may_not(PROBES, "networking.k8s.io", &["create networkpolicies"]),
    may("", "", &["list nodes"]),
    may_not("", "", &["patch nodes", "watch nodes"]),
    // The apiserver's EndpointSlice, by name.
    may_not("default", "discovery.k8s.io", &["list endpointslices"]),
    may(
        REHEARSAL,
        "networking.k8s.io",
        &[
            "create networkpolicies",
            "list networkpolicies",
            "delete networkpolicies",
        ],
    ),
    may(
        REHEARSAL,
        "events.k8s.io",
        &["create events", "patch events"],
    ),
    may_not(
        REHEARSAL,
        "",
        &[
            "create pods/exec",
            "get pods/exec",
            "create pods/attach",
            "patch pods/ephemeralcontainers",
        ],
    ),
    may_not(
        REHEARSAL,
        "",
        &[
            "list secrets",
            "watch secrets",
            "update secrets",
            "create services",
            "list configmaps",
            "delete configmaps",
            "patch pods",
            "deletecollection pods",
        ],
    ),
    may_not(
        REHEARSAL,
        "rbac.authorization.k8s.io",
        &[
            "create rolebindings",
            "patch roles",
            "bind clusterroles",
            "escalate clusterroles",
        ],
    ),
    may(PROTECTED, "", &["list pods", "watch pods"]),
    may_not(
        PROTECTED,
        "",
        &[
            "get pods",
            "create pods",
            "delete pods",
            "get pods/portforward",
            "get secrets",
            "get configmaps",
        ],
    ),
    may_not(
        "default",
        "",
        &["get pods", "get secrets", "create pods", "get namespaces"],
    ),
    may_not(
        "",
        "",
        &[
            "impersonate users",
            "list namespaces",
            "patch namespaces",
            "get nodes",
            "delete persistentvolumes",
            "create namespaces",
        ],
    ),
    may(
        "",
        "storage.k8s.io",
        &["get storageclasses", "list storageclasses"],
    ),
    may("", "", &["list persistentvolumes"]),
    may(
        "",
        "admissionregistration.k8s.io",
        &[
            "get validatingadmissionpolicies dryrun-approver",
            "get validatingadmissionpolicies dryrun-abandonment",
            "get validatingadmissionpolicybindings dryrun-approver",
        ],
    ),
    may_not(
        "",
        "admissionregistration.k8s.io",
        &[
            "get validatingadmissionpolicies somebody-elses",
            "list validatingadmissionpolicies",
            "patch validatingadmissionpolicies",
            "delete validatingadmissionpolicybindings",
        ],
    ),
];

const REQUESTER: &[Line] = &[
    may(
        REHEARSAL,
        "dryrun.dev",
        &[
            "create dryruns",
            "delete dryruns",
            "list dryruns",
            "get dryrunreports",
            "list dryrunapprovals",
        ],
    ),
    may(
        REHEARSAL,
        "",
        &["create configmaps", "get configmaps", "list events"],
    ),
    may_not(
        REHEARSAL,
        "dryrun.dev",
        &[
            "approve dryruns",
            "create dryrunapprovals",
            "abandon dryruns",
            "patch dryruns",
            "patch dryruns/status",
            "delete dryrunreports",
        ],
    ),
    may_not(
        REHEARSAL,
        "",
        &[
            "get pods",
            "get pods/log",
            "get secrets",
            "create pods/exec",
            "get pods/portforward",
            "create pods",
            "patch configmaps",
        ],
    ),
];

const APPROVER: &[Line] = &[
    may(
        REHEARSAL,
        "dryrun.dev",
        &[
            "approve dryruns",
            "create dryrunapprovals",
            "get dryruns",
            "watch dryruns",
            "get dryrunreports",
        ],
    ),
    may(REHEARSAL, "", &["get configmaps"]),
    may_not(
        REHEARSAL,
        "dryrun.dev",
        &[
            "abandon dryruns",
            "create dryruns",
            "delete dryruns",
            "patch dryruns",
            "patch dryrunapprovals",
            "delete dryrunapprovals",
        ],
    ),
    may_not(
        REHEARSAL,
        "",
        &[
            "get pods",
            "get pods/log",
            "get secrets",
            "create pods/exec",
            "get pods/portforward",
            "create configmaps",
        ],
    ),
];

const ABANDONER: &[Line] = &[
    may(
        REHEARSAL,
        "dryrun.dev",
        &[
            "abandon dryruns",
            "patch dryruns",
            "get dryruns",
            "get dryrunreports",
        ],
    ),
    may_not(
        REHEARSAL,
        "dryrun.dev",
        &[
            "approve dryruns",
            "create dryruns",
            "delete dryruns",
            "patch dryruns/status",
            "create dryrunapprovals",
            "delete dryrunreports",
        ],
    ),
    may_not(
        REHEARSAL,
        "",
        &[
            "get pods",
            "get pods/log",
            "get secrets",
            "create pods/exec",
            "get pods/portforward",
            "get configmaps",
        ],
    ),
];

pub(crate) async fn check(actors: &Actors) -> Result<()> {
    for (actor, lines) in [
        (&actors.operator, OPERATOR),
        (&actors.alice, REQUESTER),
        (&actors.bob, APPROVER),
        (&actors.erin, ABANDONER),
    ] {
        for line in lines {
            for what in line.what {
                ask(actors, actor, line, what).await?;
            }
        }
    }
    default_roles_grant_nothing(actors).await
}

async fn ask(actors: &Actors, actor: &Actor, line: &Line, what: &str) -> Result<()> {
    let (verb, resource) = what.split_once(' ').unwrap_or((what, ""));
    let (resource, name) = resource.split_once(' ').unwrap_or((resource, ""));
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(actor.user.clone()),
            groups: Some(vec!["system:authenticated".into()]),
            resource_attributes: Some(ResourceAttributes {
                group: Some(line.group.into()),
                version: Some("*".into()),
                namespace: Some(line.namespace.into()),
                resource: Some(resource.into()),
                subresource: Some(subresource.into()),
                name: Some(name.into()),
                verb: Some(verb.into()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let api: Api<SubjectAccessReview> = Api::all(actors.admin.client.clone());
    let allowed = api
        .create(&PostParams::default(), &review)
        .await?
        .status
        .is_some_and(|status| status.allowed);
    ensure!(
        allowed == line.allowed,
        "{} in {:?}: {what} is {}allowed",
        actor.user,
        line.namespace,
        if allowed { "" } else { "not " }
    );
    Ok(())
}

/// The roles view, edit and admin of a namespace grant nothing on this API group.
async fn default_roles_grant_nothing(actors: &Actors) -> Result<()> {
    let roles: Api<ClusterRole> = Api::all(actors.admin.client.clone());
    for name in ["view", "edit", "admin"] {
        let rules = roles.get(name).await?.rules.unwrap_or_default();
        let ours = rules
            .iter()
            .flat_map(|rule| rule.api_groups.iter().flatten())
            .any(|group| group == "dryrun.dev");
        ensure!(!ours, "ClusterRole {name} has rules for dryrun.dev");
    }
    Ok(())
}
