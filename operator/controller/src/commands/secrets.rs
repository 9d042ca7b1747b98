//! C-02: the run's credentials.

use dryrun_core::problem::Problem;
use dryrun_core::run::facts::SecretFacts;
use dryrun_core::run::object::Object;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};

use crate::jobs::{Scope, read};
use crate::objects::CREDENTIAL_LENGTH;

/// Reads the run's Secret back.
pub(super) async fn inspect(scope: &Scope) -> Result<SecretFacts, Problem> {
    let api: Api<Secret> = Api::namespaced(scope.client.clone(), &scope.run.namespace);
    let name = scope.run.name_of(Object::Secret);
    let secret = read("SecretUnreadable", "the run's Secret", api.get(&name)).await?;
    let data = secret.data.clone().unwrap_or_default();
    let malformed = |value: &[u8]| {
        value.len() != CREDENTIAL_LENGTH || !value.iter().all(u8::is_ascii_alphanumeric)
    };
    Ok(SecretFacts {
        uid: secret.uid().unwrap_or_default(),
        immutable: secret.immutable == Some(true),
        malformed: data
            .iter()
            .filter(|(_, value)| malformed(&value.0))
            .map(|(key, _)| key.clone())
            .collect(),
        keys: data.into_keys().collect(),
    })
}
