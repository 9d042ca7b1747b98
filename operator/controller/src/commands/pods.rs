//! The work that commands do on any pod.

use dryrun_core::commands::Released;
use dryrun_core::isolation::pod;
use dryrun_core::problem::Problem;
use dryrun_core::run::container::Container;
use dryrun_core::run::facts::PodInspection;
use dryrun_core::run::object::RunPod;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::ListParams;

use crate::jobs::{Scope, read};
use crate::objects;

/// A pod as the apiserver has it, with everything that could open it.
pub(super) async fn inspect(scope: &Scope, pod: RunPod) -> Result<PodInspection, Problem> {
    let services: Api<Service> = Api::namespaced(scope.client.clone(), &scope.run.namespace);
    let everything = ListParams::default();
    let (pods, name) = (scope.pods(), scope.run.name_of(pod));
    let reading =
        async { futures::try_join!(pods.get(&name), policies(scope), services.list(&everything)) };
    let what = format!("{name} and what opens it");
    let (found, policies, services) = read("ObjectsUnreadable", &what, reading).await?;
    let expected = pod::Expected {
        run: &scope.run,
        pod,
        source_secret: &scope.spec.source.password_secret_ref.name,
        built: &objects::pod(&scope.plan(), pod),
    };
    Ok(pod::inspect(&found, &services.items, &policies, expected))
}

/// Lets a waiting init container end.
pub(super) async fn release(scope: &Scope, container: Container) -> Result<Released, Problem> {
    scope.agent(container).await?.release().await?;
    Ok(Released(container))
}

/// The NetworkPolicies of the run's namespace.
pub(super) async fn policies(scope: &Scope) -> kube::Result<Vec<NetworkPolicy>> {
    let api: Api<NetworkPolicy> = Api::namespaced(scope.client.clone(), &scope.run.namespace);
    Ok(api.list(&ListParams::default()).await?.items)
}
