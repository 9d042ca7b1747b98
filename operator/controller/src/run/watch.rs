//! Watches DryRuns and everything that may bring one on, and reconciles them.

use dryrun_core::api::{DryRunApproval, DryRunReport};
use dryrun_core::run::id::{INSTANCE_LABEL, NAMESPACE_LABEL, RUN_LABEL};
use futures::channel::mpsc::UnboundedReceiver;
use futures::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::{self, Controller};
use kube::runtime::reflector::{self, ObjectRef, reflector};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::sync::Arc;

use super::reconcile::{error_policy, reconcile};
use crate::context::{Context, Watched};
use crate::{shutdown, watching};

/// Number of runs that are reconciled at the same time.
const CONCURRENCY: u16 = 16;

/// Reconciles DryRuns until the process is asked to end.
pub async fn run(context: Arc<Context>, ended: UnboundedReceiver<ObjectRef<Watched>>) {
    let client = context.client.clone();
    let runs: Api<Watched> = Api::all(client.clone());
    let (store, writer) = reflector::store();
    // Deletions count: a run whose finalizer was removed by hand may cause no other event.
    let watched = watcher(runs, watching()).modify(|run| {
        // It names every field of the status, and is larger than all else.
        run.managed_fields_mut().clear();
    });
    let seen = reflector(writer, watched).touched_objects();
    let mut controller = Controller::for_stream(seen, store)
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .watches(
            Api::<DeserializeGuard<DryRunApproval>>::all(client.clone()),
            watching(),
            |approval| {
                let approval = approval.0.ok()?;
                let namespace = approval.namespace()?;
                Some(ObjectRef::new(&approval.spec.dry_run_name).within(&namespace))
            },
        )
        .reconcile_on(ended)
        .reconcile_on(deleted_reports(&client))
        .graceful_shutdown_on(shutdown::requested());
    let labelled = watching().labels(RUN_LABEL);
    let probes = Api::<Pod>::namespaced(client.clone(), &context.operator.probes_namespace);
    controller = controller.reconcile_on(children(probes, &labelled));
    for namespace in &context.namespaces {
        controller = controller
            .reconcile_on(children(
                Api::<Pod>::namespaced(client.clone(), namespace),
                &labelled,
            ))
            .reconcile_on(children(
                Api::<PersistentVolumeClaim>::namespaced(client.clone(), namespace),
                &labelled,
            ))
            .reconcile_on(children(
                Api::<NetworkPolicy>::namespaced(client.clone(), namespace),
                &labelled,
            ));
    }
    controller
        .run(reconcile, error_policy, Arc::clone(&context))
        .for_each(|result| async {
            match result {
                Err(controller::Error::ObjectNotFound(object)) => {
                    tracing::debug!(%object, "gone");
                    let namespace = object.namespace.as_deref().unwrap_or_default();
                    context.forget((namespace, &object.name), None);
                }
                Err(error) => tracing::debug!(%error, "pass ended with an error"),
                Ok(_) => {}
            }
        })
        .await;
}

/// The runs whose objects of this kind changed. Deletions count: teardown waits for them.
fn children<K>(
    api: Api<K>,
    config: &watcher::Config,
) -> impl Stream<Item = ObjectRef<Watched>> + Send + 'static
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    watcher(api, config.clone())
        .default_backoff()
        .touched_objects()
        .filter_map(|object| async move {
            let object = object
                .inspect_err(|error| tracing::debug!(%error, "watch interrupted"))
                .ok()?;
            run_of(&object)
        })
}

/// The runs whose report was deleted. Changes of a report are the operator's own and wake no run.
fn deleted_reports(client: &Client) -> impl Stream<Item = ObjectRef<Watched>> + Send + 'static {
    let reports = Api::<PartialObjectMeta<DryRunReport>>::all(client.clone());
    watcher(reports, watching())
        .default_backoff()
        .filter_map(|event| async move {
            let event = event
                .inspect_err(|error| tracing::debug!(%error, "watch interrupted"))
                .ok()?;
            match event {
                watcher::Event::Delete(report) => run_of(&report),
                watcher::Event::Init
                | watcher::Event::InitApply(_)
                | watcher::Event::InitDone
                | watcher::Event::Apply(_) => None,
            }
        })
}

/// The run that an object is part of, by its labels.
fn run_of(object: &impl Resource) -> Option<ObjectRef<Watched>> {
    let labels = object.labels();
    let run = labels.get(INSTANCE_LABEL)?;
    // Objects outside of the DryRun's own namespace say which that is.
    let namespace = labels.get(NAMESPACE_LABEL).cloned();
    Some(ObjectRef::new(run).within(&namespace.or_else(|| object.namespace())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dryrun_core::run::id::RunRef;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use std::collections::BTreeMap;

    #[test]
    fn a_report_and_a_canary_say_which_run_they_are_of() {
        let object = |namespace: &str, labels: BTreeMap<String, String>| Pod {
            metadata: ObjectMeta {
                namespace: Some(namespace.into()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            ..Pod::default()
        };
        let expected = Some(ObjectRef::new("a").within("rehearsal"));
        let mut labels = RunRef {
            namespace: "rehearsal".into(),
            name: "a".into(),
            uid: "uid".into(),
        }
        .retained_labels();
        assert_eq!(run_of(&object("rehearsal", labels.clone())), expected);
        labels.insert(NAMESPACE_LABEL.into(), "rehearsal".into());
        assert_eq!(run_of(&object("probes", labels)), expected);
        assert_eq!(run_of(&object("rehearsal", BTreeMap::new())), None);
    }
}
