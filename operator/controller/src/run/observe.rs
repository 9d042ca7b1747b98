//! Reads the world, once per pass.

use dryrun_core::run::id::RunRef;
use dryrun_core::run::object::{Object, RunPod, RunPolicy, RunVolume};
use dryrun_core::{
    api::{DryRun, DryRunApproval, DryRunReport, PlanSummary},
    commands::Facts,
    plan::{
        self,
        admission::Enforcement,
        approval::{self, Approval, Wanted},
    },
    problem::Problem,
    run::{
        id::{ABANDONED_BY, FINALIZER},
        observed::{Ended, Observed, PodView},
    },
    step::ReportView,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Namespace, PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{ListParams, PartialObjectMeta};
use kube::core::DeserializeGuard;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

use crate::context::Context;
use crate::error::{Error, call};
use crate::pinned_operator::PinnedOperator;
use crate::run::resolve::resolve;

/// Annotation of a claim whose volume is being made on that node (`WaitForFirstConsumer`).
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// Objects that were read, owned.
pub(crate) struct Observation {
    pub(crate) run: RunRef,
    pub(crate) plan: Result<PlanSummary, Problem>,
    pub(crate) approval: Approval,
    pub(crate) enforcement: Enforcement,
    pub(crate) report: Option<ReportView>,
    /// The report's resourceVersion.
    pub(crate) report_version: Option<String>,
    pub(crate) operator: PinnedOperator,
    pub(crate) facts: Facts,
    pub(crate) objects: BTreeMap<Object, Observed>,
    pub(crate) blind: bool,
    pub(crate) namespace_terminating: bool,
    pub(crate) unprepared: Option<String>,
}

/// Reads what concerns a DryRun. Before it has begun that is plan, approvals and admission
/// policies; afterwards report and objects.
pub(crate) async fn observe(context: &Context, run: &DryRun) -> Result<Observation, Error> {
    let id = RunRef::of(run);
    let client = &context.client;
    let status = run.status.as_ref();
    // It is put on right before the first create: without it nothing can have been made.
    let finalizer = run.finalizers().iter().any(|f| f == FINALIZER);
    if !context.namespaces.contains(&id.namespace) {
        return Ok(unprepared(context, run, finalizer));
    }
    let reports: Api<DryRunReport> = Api::namespaced(client.clone(), &id.namespace);
    let report = call("read the report", reports.get_opt(&id.report())).await?;
    let report = report.filter(|r| r.spec.dry_run_uid == id.uid);
    let mut observation = Observation {
        run: id.clone(),
        plan: Err(Problem::permanent("Frozen", "the run has begun")),
        approval: Approval::None,
        enforcement: Enforcement::Unseen,
        facts: match &report {
            Some(report) => report.status.clone().map(|s| s.facts).unwrap_or_default(),
            None => context.orphan(&id),
        },
        operator: PinnedOperator::of(&context.operator, run, report.as_ref()),
        report: report.as_ref().map(view),
        report_version: report.as_ref().and_then(ResourceExt::resource_version),
        objects: BTreeMap::new(),
        blind: false,
        namespace_terminating: namespace_terminating(client, &id.namespace).await?,
        unprepared: None,
    };
    // Abandoning a run by force succeeds even if its objects cannot be read.
    let abandoned = run.annotations().contains_key(ABANDONED_BY);
    if status.is_some_and(|s| s.outcome.is_some()) && !(abandoned && finalizer) {
        return Ok(observation);
    }
    let reported = report.is_some() || status.is_some_and(|s| s.report.is_some());
    if reported || finalizer {
        let (near, outside) = tokio::join!(
            objects(client, &id),
            outside(client, &observation.operator.probes_namespace, &id),
        );
        for (seen, near) in [(near, true), (outside, false)] {
            match seen {
                Ok(objects) => observation.objects.extend(objects),
                // In a terminating namespace the Roles go after the pods and before us.
                Err(error) if near && error.is_forbidden() && observation.namespace_terminating => {
                    observation.blind = true;
                }
                Err(error) if abandoned => {
                    tracing::warn!(id.namespace, id.name, %error, "an abandoned run cannot be looked at");
                    observation.blind = true;
                }
                Err(error) => return Err(error),
            }
        }
    }
    if reported || observation.blind || !observation.objects.is_empty() {
        return Ok(observation);
    }
    let operator = plan::Operator {
        image: &context.operator.image,
        probes_namespace: &context.operator.probes_namespace,
    };
    observation.plan = resolve(context, run, operator).await?;
    if let Ok(plan) = &observation.plan {
        // Right before the first create nothing but a look of this moment will do.
        observation.enforcement = context.policies.look(client, finalizer).await?;
        if let Enforcement::Whole { approver_since, .. } = &observation.enforcement {
            let wanted = Wanted {
                run: &id,
                requested_by: &run.spec.requested_by,
                plan,
                shown: status.and_then(|s| s.plan.as_ref()),
                policy_since: *approver_since,
                now: Timestamp::now(),
            };
            observation.approval =
                approval::judge(&approvals(client, &id.namespace).await?, &wanted);
        }
    }
    Ok(observation)
}

/// The approvals of a namespace. One that another version wrote approves nothing here, and keeps no
/// other from counting.
async fn approvals(client: &Client, namespace: &str) -> Result<Vec<DryRunApproval>, Error> {
    let api: Api<DeserializeGuard<DryRunApproval>> = Api::namespaced(client.clone(), namespace);
    let found = call("list approvals", api.list(&ListParams::default())).await?;
    Ok(found.items.into_iter().filter_map(|a| a.0.ok()).collect())
}

/// A namespace in which the operator has no rights: the status can only say what to change. What a
/// run has made there cannot be seen, so one that may have begun waits until the namespace is
/// prepared again, or is abandoned.
fn unprepared(context: &Context, run: &DryRun, begun: bool) -> Observation {
    let id = RunRef::of(run);
    let namespace = &id.namespace;
    let all: Vec<&str> = std::iter::once(namespace.as_str())
        .chain(context.namespaces.iter().map(String::as_str))
        .collect();
    let message = format!(
        "{namespace} is not prepared: helm upgrade … --reuse-values --set 'rehearsalNamespaces={{{}}}'",
        all.join(",")
    );
    let over = run.status.as_ref().is_some_and(|s| s.outcome.is_some());
    let waits = begun && !over && !run.annotations().contains_key(ABANDONED_BY);
    Observation {
        run: id.clone(),
        unprepared: waits.then(|| message.clone()),
        plan: Err(Problem::permanent("NamespaceNotPrepared", message)),
        approval: Approval::None,
        enforcement: Enforcement::Unseen,
        operator: PinnedOperator::of(&context.operator, run, None),
        report: None,
        report_version: None,
        facts: Facts::default(),
        objects: BTreeMap::new(),
        blind: begun,
        namespace_terminating: false,
    }
}

fn view(report: &DryRunReport) -> ReportView {
    ReportView {
        began: report
            .creation_timestamp()
            .map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        approved_by: report.spec.approved_by.clone(),
    }
}

async fn namespace_terminating(client: &Client, namespace: &str) -> Result<bool, Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let found = call("read the namespace", namespaces.get_metadata_opt(namespace)).await?;
    Ok(found.is_none_or(|n| n.metadata.deletion_timestamp.is_some()))
}

/// The run's objects: those of its names that carry its UID.
async fn objects(client: &Client, run: &RunRef) -> Result<BTreeMap<Object, Observed>, Error> {
    let labelled = ListParams::default().labels(&run.selector());
    let pods: Api<Pod> = Api::namespaced(client.clone(), &run.namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &run.namespace);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &run.namespace);
    let secret_name = run.name_of(Object::Secret);
    let intruder_name = run.name_of(RunPod::Intruder);
    let (found, intruder, secret, claims, policies) = futures::try_join!(
        call("list pods", pods.list(&labelled)),
        // It has the labels of another run.
        call("read the intruder", pods.get_opt(&intruder_name)),
        call(
            "read the run's Secret",
            secrets.get_metadata_opt(&secret_name)
        ),
        call("list claims", claims.list(&labelled)),
        metadata::<NetworkPolicy>(client, &run.namespace, &labelled),
    )?;
    let intruder = intruder.filter(|pod| run.owns(pod));
    let mut objects = pods_by_name(found.items.iter().chain(&intruder), run);
    if let Some(secret) = secret.filter(|secret| run.owns(secret)) {
        objects.insert(Object::Secret, observed(&secret));
    }
    for claim in &claims {
        let volume = claim
            .spec
            .as_ref()
            .and_then(|spec| spec.volume_name.clone());
        let chosen = claim.annotations().contains_key(SELECTED_NODE);
        let claim_view = Observed {
            provisioning: chosen && volume.is_none(),
            volume,
            ..observed(claim)
        };
        let volumes = RunVolume::ALL.map(Object::Volume);
        objects.extend(named(&volumes, claim, run).map(|object| (object, claim_view)));
    }
    for policy in &policies {
        let policies = RunPolicy::ALL.map(Object::Policy);
        objects.extend(named(&policies, policy, run).map(|object| (object, observed(policy))));
    }
    Ok(objects)
}

/// The one of these objects that has the name of what was found.
fn named(objects: &[Object], found: &impl Resource, run: &RunRef) -> Option<Object> {
    let found = found.meta().name.as_ref()?;
    let mut objects = objects.iter().copied();
    objects.find(|object| run.name_of(*object) == *found)
}

/// The run's pods in the namespace of probes.
async fn outside(
    client: &Client,
    probes_namespace: &str,
    run: &RunRef,
) -> Result<BTreeMap<Object, Observed>, Error> {
    let labelled = ListParams::default().labels(&run.selector());
    let pods: Api<Pod> = Api::namespaced(client.clone(), probes_namespace);
    let found = call("list pods of the namespace of probes", pods.list(&labelled)).await?;
    Ok(pods_by_name(&found.items, run))
}

fn pods_by_name<'a>(
    pods: impl IntoIterator<Item = &'a Pod>,
    run: &RunRef,
) -> BTreeMap<Object, Observed> {
    let known = RunPod::ALL.map(Object::Pod);
    let pods = pods.into_iter().filter_map(|pod| {
        let seen = Observed {
            pod: Some(pod_view(pod)),
            ..observed(pod)
        };
        Some((named(&known, pod, run)?, seen))
    });
    pods.collect()
}

async fn metadata<K>(
    client: &Client,
    namespace: &str,
    params: &ListParams,
) -> Result<Vec<PartialObjectMeta<K>>, Error>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    Ok(call(
        format!("list {}", K::plural(&())),
        api.list_metadata(params),
    )
    .await?
    .items)
}

fn observed<K: Resource>(object: &K) -> Observed {
    let meta = object.meta();
    Observed {
        uid: meta.uid.clone().unwrap_or_default(),
        deleting: meta.deletion_timestamp.is_some(),
        pod: None,
        volume: None,
        provisioning: false,
    }
}

fn pod_view(pod: &Pod) -> PodView {
    let status = pod.status.clone().unwrap_or_default();
    let all: Vec<&ContainerStatus> = status
        .container_statuses
        .iter()
        .flatten()
        .chain(status.init_container_statuses.iter().flatten())
        .collect();
    let running = all
        .iter()
        .filter(|c| c.state.as_ref().is_some_and(|s| s.running.is_some()))
        .map(|c| c.name.clone())
        .collect();
    let terminated = all
        .iter()
        .filter_map(|c| {
            let ended = c.state.as_ref()?.terminated.as_ref()?;
            let ended = Ended {
                code: ended.exit_code,
                reason: ended.reason.clone().unwrap_or_default(),
                message: ended.message.clone().unwrap_or_default(),
            };
            Some((c.name.clone(), ended))
        })
        .collect();
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "PodScheduled" && c.status == "False");
    let unscheduled = unscheduled.map(|c| {
        Problem::transient(
            c.reason.as_deref().unwrap_or_default(),
            c.message.as_deref().unwrap_or_default(),
        )
    });
    let mut waiting = all.iter().filter_map(|c| {
        let waiting = c.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref()?;
        // Reasons of a pod that starts as it should say nothing: the image is what may be missing
        // then.
        let message = waiting.message.clone().filter(|m| !m.is_empty());
        Some(Problem::transient(
            reason,
            message.unwrap_or_else(|| format!("image {}", c.image)),
        ))
    });
    // A container that waits for another one explains less than that one.
    let first = waiting.next();
    let is_starting = |problem: &Problem| PodView::STARTING.contains(&problem.reason.as_str());
    let starting = first.as_ref().is_some_and(is_starting);
    let telling = if starting {
        waiting.find(|problem| !is_starting(problem))
    } else {
        None
    };
    let waiting = telling.or(first);
    PodView {
        phase: status.phase.unwrap_or_default(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        ip: status.pod_ip,
        running,
        terminated,
        waiting: unscheduled.or(waiting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn seen(status: Value) -> PodView {
        pod_view(&serde_json::from_value(json!({"status": status})).unwrap())
    }

    fn waits(name: &str, reason: &str, message: &str) -> Value {
        let waiting = json!({"reason": reason, "message": message});
        json!({"name": name, "image": "postgres:17", "imageID": "", "ready": false, "restartCount": 0, "state": {"waiting": waiting}})
    }

    #[test]
    fn the_scheduler_speaks_before_the_kubelet() {
        let no_room = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no room"});
        let waiting = waits("server", "ImagePullBackOff", "");
        let waiting =
            seen(json!({"conditions": [no_room], "containerStatuses": [waiting]})).waiting;
        assert_eq!(waiting.unwrap().to_string(), "Unschedulable: no room");
    }

    #[test]
    fn a_container_that_waits_for_another_says_less_than_that_one() {
        let (late, pulled) = (
            waits("server", "PodInitializing", ""),
            waits("probe", "ErrImagePull", ""),
        );
        let of = |containers: Value, init: Value| {
            let view =
                seen(json!({"containerStatuses": containers, "initContainerStatuses": init}));
            view.waiting.unwrap().to_string()
        };
        assert_eq!(
            of(json!([late]), json!([pulled])),
            "ErrImagePull: image postgres:17"
        );
        assert_eq!(
            of(json!([pulled, late]), json!([])),
            "ErrImagePull: image postgres:17"
        );
        assert_eq!(
            of(json!([late]), json!([])),
            "PodInitializing: image postgres:17"
        );
        let told = waits("server", "CreateContainerError", "no such user");
        assert_eq!(
            of(json!([told]), json!([])),
            "CreateContainerError: no such user"
        );
    }

    #[test]
    fn containers_run_or_have_ended() {
        let status = |name: &str, state: Value| json!({"name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state});
        let ended = json!({"terminated": {"exitCode": 3, "reason": "Error", "message": "why"}});
        let bare = json!({"terminated": {"exitCode": 0}});
        let view = seen(json!({
            "phase": "Running", "podIP": "10.0.0.1",
            "containerStatuses": [status("a", json!({"running": {}})), status("b", ended)],
            "initContainerStatuses": [status("c", bare), status("d", json!({}))],
        }));
        assert_eq!(
            (view.phase.as_str(), view.ip.as_deref()),
            ("Running", Some("10.0.0.1"))
        );
        assert_eq!(view.running.iter().collect::<Vec<_>>(), ["a"]);
        let told = |name: &str| {
            let ended = &view.terminated[name];
            (ended.code, ended.reason.as_str(), ended.message.as_str())
        };
        assert_eq!(view.terminated.len(), 2);
        assert_eq!((told("b"), told("c")), ((3, "Error", "why"), (0, "", "")));
        assert!(view.waiting.is_none());
        assert_eq!(seen(json!({})), PodView::default());
    }
}
