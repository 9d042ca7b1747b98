//! Does what was decided. Every effect on the cluster is here, but status and report.

use dryrun_core::api::{DryRun, DryRunReport, DryRunReportSpec, PlanSummary};
use dryrun_core::commands::{Action, Facts};
use dryrun_core::plan;
use dryrun_core::plan::approval::Approval;
use dryrun_core::run::id::FINALIZER;
use dryrun_core::run::id::RunRef;
use dryrun_core::run::object::Object;
use dryrun_core::run::observed::Observed;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use crate::error::{Error, call};
use crate::jobs::{PodAccess, Scope, Supervisor};
use crate::objects::{self, Plan};
use crate::pinned_operator::PinnedOperator;

/// Context of actions.
pub(crate) struct Actor<'a> {
    pub(crate) client: &'a Client,
    /// Access to the run's pods, for jobs.
    pub(crate) access: &'a Arc<dyn PodAccess>,
    pub(crate) jobs: &'a Supervisor,
    /// The DryRun as it was read.
    pub(crate) dry_run: &'a DryRun,
    pub(crate) run: &'a RunRef,
    pub(crate) facts: &'a Facts,
    pub(crate) objects: &'a BTreeMap<Object, Observed>,
    pub(crate) approval: &'a Approval,
    /// The plan that was approved; absent once the run has begun.
    pub(crate) plan: Option<&'a PlanSummary>,
    /// The operator as the run's plan pins it.
    pub(crate) operator: &'a PinnedOperator,
}

impl Actor<'_> {
    /// Does one action. All can be done twice: a create that finds its own object is a success, a
    /// delete that finds nothing too.
    pub(crate) async fn act(&self, action: Action) -> Result<(), Error> {
        match action {
            Action::AddFinalizer => self.finalizer(true).await,
            Action::RemoveFinalizer => self.finalizer(false).await,
            Action::CreateReport => self.create_report().await,
            Action::Create(object) => self.create(object).await,
            Action::Delete(object) => self.delete(object).await,
            Action::Start(job, deadline) => {
                let scope = Scope {
                    client: self.client.clone(),
                    access: Arc::clone(self.access),
                    scanners: Arc::clone(&self.jobs.scanners),
                    run: self.run.clone(),
                    operator: self.operator.clone(),
                    spec: Arc::new(self.dry_run.spec.clone()),
                    facts: Arc::new(self.facts.clone()),
                    deadline,
                };
                self.jobs.start(job, scope);
                Ok(())
            }
            Action::CancelJobs => {
                self.jobs.cancel(&self.run.uid, |job| !job.is_teardown());
                Ok(())
            }
            Action::End(ending) => {
                self.jobs.cancel(&self.run.uid, |job| job == ending);
                Ok(())
            }
            Action::EndJobs => {
                self.jobs.cancel(&self.run.uid, |_| true);
                Ok(())
            }
        }
    }

    /// Adds or removes our finalizer, only on the very version that was read: a list that another
    /// client changed in between is left alone.
    async fn finalizer(&self, wanted: bool) -> Result<(), Error> {
        let mut finalizers: Vec<String> = self.dry_run.finalizers().to_vec();
        finalizers.retain(|f| f != FINALIZER);
        if wanted {
            finalizers.push(FINALIZER.to_owned());
        }
        let patch = serde_json::json!({
            "metadata": {"uid": self.run.uid, "resourceVersion": self.dry_run.resource_version(), "finalizers": finalizers},
        });
        let api: Api<DryRun> = Api::namespaced(self.client.clone(), &self.run.namespace);
        let patched = call(
            "change the finalizer",
            api.patch(
                &self.run.name,
                &PatchParams::default(),
                &Patch::Merge(&patch),
            ),
        )
        .await;
        match patched {
            Err(Error::Kube {
                source: kube::Error::Api(status),
                ..
            }) if status.is_not_found() && !wanted => Ok(()),
            other => other.map(drop),
        }
    }

    async fn create_report(&self) -> Result<(), Error> {
        let Approval::Valid {
            name: approval_name,
            uid: approval_uid,
            approved_by,
        } = self.approval.clone()
        else {
            return Ok(());
        };
        let Some(plan) = self.plan else {
            return Ok(());
        };
        let mut report = DryRunReport::new(
            &self.run.report(),
            DryRunReportSpec {
                dry_run_name: self.run.name.clone(),
                dry_run_uid: self.run.uid.clone(),
                plan_hash: plan.hash.clone(),
                plan: plan::document(
                    &self.run.namespace,
                    &self.run.name,
                    &self.dry_run.spec,
                    &plan.resolved,
                )?,
                requested_by: self.dry_run.spec.requested_by.clone(),
                approved_by,
                approval_name,
                approval_uid,
            },
        );
        report.metadata.namespace = Some(self.run.namespace.clone());
        report.metadata.labels = Some(self.run.retained_labels());
        let api: Api<DryRunReport> = Api::namespaced(self.client.clone(), &self.run.namespace);
        let created = call(
            "create the report",
            api.create(&PostParams::default(), &report),
        )
        .await;
        match created {
            Err(error) if error.is_already_exists() => {
                // A lost answer of an earlier create, or what another run has left under this name.
                let found = call("read the report", api.get(&report.name_any())).await?;
                if found.spec.dry_run_uid == self.run.uid {
                    Ok(())
                } else {
                    Err(error)
                }
            }
            other => other.map(drop),
        }
    }

    async fn create(&self, object: Object) -> Result<(), Error> {
        let plan = Plan {
            run: self.run,
            operator: self.operator,
            spec: &self.dry_run.spec,
            facts: self.facts,
        };
        match object {
            Object::Secret => self.post(object, objects::secret(&plan)).await,
            Object::Volume(volume) => self.post(object, objects::claim(&plan, volume)).await,
            Object::Policy(policy) => self.post(object, objects::policy(&plan, policy)).await,
            Object::Pod(pod) => self.post(object, objects::pod(&plan, pod)).await,
        }
    }

    /// Returns the API of the object's namespace.
    fn api<K>(&self, object: Object) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        let probes_namespace = &self.operator.probes_namespace;
        let namespace = self.run.namespace_of(object, probes_namespace);
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn post<K>(&self, object: Object, desired: K) -> Result<(), Error>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize
            + Sync,
    {
        let api: Api<K> = self.api(object);
        let doing = format!("create {}", self.run.reference(object));
        match call(doing.clone(), api.create(&PostParams::default(), &desired)).await {
            Err(Error::Kube {
                doing,
                source: kube::Error::Api(status),
            }) if status.is_already_exists() => {
                // A lost answer of an earlier create, or an object of another owner.
                let found =
                    call(doing.clone(), api.get_metadata(&self.run.name_of(object))).await?;
                let ours = self.run.owns(&found);
                if ours {
                    Ok(())
                } else {
                    Err(Error::Kube {
                        doing,
                        source: kube::Error::Api(status),
                    })
                }
            }
            other => other.map(drop),
        }
    }

    async fn delete(&self, object: Object) -> Result<(), Error> {
        match object {
            Object::Secret => self.remove::<Secret>(object).await,
            Object::Volume(_) => self.remove::<PersistentVolumeClaim>(object).await,
            Object::Policy(_) => self.remove::<NetworkPolicy>(object).await,
            Object::Pod(_) => self.remove::<Pod>(object).await,
        }
    }

    /// Deletes by name and UID, so that another object of the same name is never touched.
    async fn remove<K>(&self, object: Object) -> Result<(), Error>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let Some(observed) = self.objects.get(&object) else {
            return Ok(());
        };
        let api: Api<K> = self.api(object);
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: Some(observed.uid.clone()),
            resource_version: None,
        });
        match call(
            format!("delete {}", self.run.reference(object)),
            api.delete(&self.run.name_of(object), &params),
        )
        .await
        {
            Err(Error::Kube {
                source: kube::Error::Api(status),
                ..
            }) if status.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }
}
