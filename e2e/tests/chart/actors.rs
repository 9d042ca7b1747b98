//! The users and service accounts of these checks, and the expected result of their requests.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Result, bail};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, Role, RoleBinding};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::release::{REHEARSAL, Release, SYSTEM};

/// Delay until new policies and role bindings take effect.
const IN_FORCE: Duration = Duration::from_secs(20);
/// A cluster administrator who is not among the chart's administrators, and the name of the
/// ClusterRoleBinding.
pub(crate) const ROOT: &str = "chart-root";

/// The users and service accounts of these checks.
pub(crate) struct Actors {
    /// The chart's administrator.
    pub(crate) admin: Actor,
    /// A cluster administrator who is not among the chart's administrators.
    pub(crate) root: Actor,
    /// The operator.
    pub(crate) operator: Actor,
    /// The namespace controller.
    pub(crate) namespaces: Actor,
    /// The garbage collector.
    pub(crate) collector: Actor,
    /// The controller that creates pods for Deployments.
    pub(crate) replicas: Actor,
    /// The controller that creates pods and claims for StatefulSets.
    pub(crate) sets: Actor,
    /// The default scheduler.
    pub(crate) scheduler: Actor,
    /// Bound to dryrun-requester.
    pub(crate) alice: Actor,
    /// Bound to dryrun-approver.
    pub(crate) bob: Actor,
    /// Bound to both.
    pub(crate) carol: Actor,
    /// May create approvals and patch DryRuns, but has neither the verb approve nor the verb
    /// abandon.
    pub(crate) dave: Actor,
    /// Bound to dryrun-abandoner.
    pub(crate) erin: Actor,
}

impl Actors {
    /// Binds all actors to their roles.
    pub(crate) async fn prepare(release: &Release) -> Result<Self> {
        let controller = |name: &str| format!("system:serviceaccount:kube-system:{name}");
        let (alice, bob, carol) = ("chart-alice", "chart-bob", "chart-carol");
        let (dave, erin) = ("chart-dave", "chart-erin");
        let actor = async |name: &'static str, user: &str| Actor::new(release, name, user).await;
        let actors = Self {
            admin: Actor {
                name: "an admin of the chart",
                user: String::new(),
                client: release.cluster.client().await?,
                namespace: REHEARSAL,
            },
            root: actor("a cluster admin", ROOT).await?,
            operator: actor(
                "the operator",
                &format!("system:serviceaccount:{SYSTEM}:dryrun-operator"),
            )
            .await?,
            namespaces: actor(
                "the namespace controller",
                &controller("namespace-controller"),
            )
            .await?,
            collector: actor(
                "the garbage collector",
                &controller("generic-garbage-collector"),
            )
            .await?,
            replicas: actor(
                "the ReplicaSet controller",
                &controller("replicaset-controller"),
            )
            .await?,
            sets: actor(
                "the StatefulSet controller",
                &controller("statefulset-controller"),
            )
            .await?,
            scheduler: actor("the scheduler", "system:kube-scheduler").await?,
            alice: actor("alice", alice).await?,
            bob: actor("bob", bob).await?,
            carol: actor("carol", carol).await?,
            dave: actor("dave", dave).await?,
            erin: actor("erin", erin).await?,
        };
        actors.teardown().await?;
        let root = json!({
            "metadata": {"name": ROOT},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": ROOT}],
        });
        Api::<ClusterRoleBinding>::all(actors.admin.client.clone())
            .create(&PostParams::default(), &serde_json::from_value(root)?)
            .await?;
        let create_only = json!({
            "metadata": {"name": "create-approvals"},
            "rules": [
                {"apiGroups": ["dryrun.dev"], "resources": ["dryrunapprovals"], "verbs": ["create"]},
                {"apiGroups": ["dryrun.dev"], "resources": ["dryruns"], "verbs": ["get", "patch"]},
            ],
        });
        actors.admin.make::<Role>(create_only).await?;
        for (name, kind, role, users) in [
            (
                "requesters",
                "ClusterRole",
                "dryrun-requester",
                [alice, carol],
            ),
            ("approvers", "ClusterRole", "dryrun-approver", [bob, carol]),
            ("creators", "Role", "create-approvals", [dave, dave]),
            (
                "abandoners",
                "ClusterRole",
                "dryrun-abandoner",
                [erin, erin],
            ),
        ] {
            let subjects: Vec<_> =
                users.iter().map(|user| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user})).collect();
            let binding = json!({
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
                "subjects": subjects,
            });
            actors.admin.make::<RoleBinding>(binding).await?;
        }
        Ok(actors)
    }

    /// Removes the cluster-scoped objects of these checks.
    pub(crate) async fn teardown(&self) -> Result<()> {
        let bindings: Api<ClusterRoleBinding> = Api::all(self.admin.client.clone());
        if bindings.get_opt(ROOT).await?.is_some() {
            bindings.delete(ROOT, &DeleteParams::default()).await?;
        }
        Ok(())
    }
}

/// A user of the apiserver. All requests are dry runs, except those of [`Actor::make`].
pub(crate) struct Actor {
    /// Name in the output of the checks.
    pub(crate) name: &'static str,
    /// User name for the apiserver.
    pub(crate) user: String,
    pub(crate) client: Client,
    namespace: &'static str,
}

impl Actor {
    async fn new(release: &Release, name: &'static str, user: &str) -> Result<Self> {
        let mut groups = vec!["system:authenticated"];
        if user.starts_with("system:serviceaccount:") {
            groups.push("system:serviceaccounts");
        }
        let client = release.cluster.client_as(user, &groups).await?;
        Ok(Self {
            name,
            user: user.to_owned(),
            client,
            namespace: REHEARSAL,
        })
    }

    /// The same actor in another namespace.
    pub(crate) fn in_namespace(&self, namespace: &'static str) -> Self {
        Self {
            name: self.name,
            user: self.user.clone(),
            client: self.client.clone(),
            namespace,
        }
    }

    pub(crate) fn api<K: Object>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), self.namespace)
    }

    /// Creates an object that persists.
    pub(crate) async fn make<K: Object>(&self, object: Value) -> Result<K> {
        Ok(self
            .api::<K>()
            .create(&PostParams::default(), &serde_json::from_value(object)?)
            .await?)
    }

    /// Creates an object, as a dry run.
    pub(crate) async fn create<K: Object>(
        &self,
        expected: Expected<'_>,
        object: Value,
    ) -> Result<()> {
        let what = format!("{} creates a {}", self.name, K::kind(&()));
        let (api, object) = (self.api::<K>(), serde_json::from_value::<K>(object)?);
        let parameters = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        expect(&what, expected, async || {
            api.create(&parameters, &object).await.map(drop)
        })
        .await
    }

    /// Changes an object by a JSON merge patch, as a dry run.
    pub(crate) async fn patch<K: Object>(
        &self,
        expected: Expected<'_>,
        name: &str,
        patch: Value,
    ) -> Result<()> {
        let what = format!("{} patches {} {name} with {patch}", self.name, K::kind(&()));
        let api = self.api::<K>();
        let parameters = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        expect(&what, expected, async || {
            api.patch(name, &parameters, &Patch::Merge(&patch))
                .await
                .map(drop)
        })
        .await
    }

    /// Changes an object's status by a JSON merge patch, as a dry run.
    pub(crate) async fn patch_status<K: Object>(
        &self,
        expected: Expected<'_>,
        name: &str,
        patch: Value,
    ) -> Result<()> {
        let what = format!(
            "{} patches the status of {} {name} with {patch}",
            self.name,
            K::kind(&())
        );
        let api = self.api::<K>();
        let parameters = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        expect(&what, expected, async || {
            api.patch_status(name, &parameters, &Patch::Merge(&patch))
                .await
                .map(drop)
        })
        .await
    }

    /// Deletes an object, as a dry run.
    pub(crate) async fn delete<K: Object>(&self, expected: Expected<'_>, name: &str) -> Result<()> {
        let what = format!("{} deletes {} {name}", self.name, K::kind(&()));
        let api = self.api::<K>();
        let parameters = DeleteParams {
            dry_run: true,
            ..DeleteParams::default()
        };
        expect(&what, expected, async || {
            api.delete(name, &parameters).await.map(drop)
        })
        .await
    }

    /// Deletes all objects of a kind, as a dry run.
    pub(crate) async fn delete_all<K: Object>(&self, expected: Expected<'_>) -> Result<()> {
        let what = format!("{} deletes all {}", self.name, K::plural(&()));
        let api = self.api::<K>();
        let parameters = DeleteParams {
            dry_run: true,
            ..DeleteParams::default()
        };
        expect(&what, expected, async || {
            api.delete_collection(&parameters, &ListParams::default())
                .await
                .map(drop)
        })
        .await
    }

    /// Requests a connection to a pod.
    pub(crate) async fn connect(&self, expected: Expected<'_>, pod: &str, way: &str) -> Result<()> {
        let what = format!("{} asks for {way} on pod {pod}", self.name);
        let uri = format!(
            "/api/v1/namespaces/{}/pods/{pod}/{way}?command=true&ports=5432",
            self.namespace
        );
        expect(&what, expected, async || {
            let request = http::Request::get(&uri)
                .body(Vec::new())
                .map_err(kube::Error::HttpError)?;
            self.client.request_text(request).await.map(drop)
        })
        .await
    }

    /// Sends an object to a path that the other methods do not cover.
    pub(crate) async fn send(
        &self,
        expected: Expected<'_>,
        method: http::Method,
        path: &str,
        object: &Value,
    ) -> Result<()> {
        let (kind, labels) = (&object["kind"], &object["metadata"]["labels"]);
        let what = format!(
            "{} sends a {kind} labelled {labels} by {method} to {path}",
            self.name
        );
        let body = serde_json::to_vec(object)?;
        expect(&what, expected, async || {
            let request = http::Request::builder()
                .method(method.clone())
                .uri(format!("{path}?dryRun=All"))
                .header("content-type", "application/json")
                .body(body.clone())
                .map_err(kube::Error::HttpError)?;
            self.client.request_text(request).await.map(drop)
        })
        .await
    }
}

/// A namespaced kind.
pub(crate) trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
{
}
impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
{
}

/// Expected result of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected<'a> {
    /// The request succeeds.
    Accepted,
    /// The apiserver refuses the request with this message.
    Refused(&'a str),
    /// The request may fail, but not with Forbidden.
    NotForbidden,
}

impl Expected<'_> {
    fn holds(self, seen: &kube::Result<()>) -> bool {
        match (self, seen) {
            (Self::Accepted | Self::NotForbidden, Ok(())) => true,
            (Self::Refused(sentence), Err(kube::Error::Api(status))) => {
                status.message.contains(sentence)
            }
            (Self::NotForbidden, Err(kube::Error::Api(status))) => !status.is_forbidden(),
            (Self::NotForbidden, Err(_)) => true,
            (Self::Accepted, Err(_)) | (Self::Refused(_), Ok(()) | Err(_)) => false,
        }
    }
}

/// Repeats a request until it gives the expected result. Requests change nothing, so repetition is
/// safe.
pub(crate) async fn expect(
    what: &str,
    expected: Expected<'_>,
    attempt: impl AsyncFn() -> kube::Result<()>,
) -> Result<()> {
    let deadline = Instant::now() + IN_FORCE;
    loop {
        let seen = attempt().await;
        if expected.holds(&seen) {
            println!("{what}: {expected:?}");
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{what}: expected {expected:?}, seen {seen:?}");
        }
        sleep(Duration::from_millis(100)).await;
    }
}
