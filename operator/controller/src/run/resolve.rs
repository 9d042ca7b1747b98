//! Resolves a plan: digests of ConfigMaps, versions of Secrets, the rows of a matrix that stands elsewhere.

use dryrun_core::run::id::RunRef;
use dryrun_core::{
    api::{ConfigMapKey, DryRun, MatrixRef, PlanSummary},
    digest, plan,
    postgres::matrix::Literal,
    problem::Problem,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, ResourceExt};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::error::{Error, call};
use crate::objects::{self};

/// Resolves the plan: digests of ConfigMaps, versions of Secrets.
pub(crate) async fn resolve(
    client: &Client,
    run: &DryRun,
    operator: plan::Operator<'_>,
) -> Result<Result<PlanSummary, Problem>, Error> {
    let RunRef {
        namespace, name, ..
    } = RunRef::of(run);
    let outside = &run.spec.isolation.outside_address;
    if outside.parse::<SocketAddr>().is_err() {
        return Ok(problem(
            "InvalidAddress",
            format!(
                "isolation.outsideAddress {outside} is no address and port, such as 192.0.2.1:443 or [2001:db8::1]:443: make a new DryRun"
            ),
        ));
    }
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let mut digests = BTreeMap::new();
    for input in &run.spec.harness.inputs {
        let reference = &input.config_map_ref;
        match key_of(&config_maps, &namespace, reference).await? {
            Ok(bytes) => digests.insert(address(reference), digest::hex(&Sha256::digest(&bytes))),
            Err(problem) => return Ok(Err(problem)),
        };
    }
    let mut literal = None;
    if let Some(reference) = &run.spec.privileges.matrix_ref {
        match matrix(&config_maps, &namespace, reference).await? {
            Ok((rows, digest)) => {
                digests.insert(address(&reference.config_map_ref), digest);
                literal = Some(rows);
            }
            Err(problem) => return Ok(Err(problem)),
        };
    }
    let reference = &run.spec.source.password_secret_ref;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let Some(secret) = call(
        format!("read Secret {}", reference.name),
        secrets.get_opt(&reference.name),
    )
    .await?
    else {
        return Ok(problem(
            "SecretMissing",
            format!(
                "create Secret {} with key {} in {namespace}",
                reference.name, reference.key
            ),
        ));
    };
    if !secret
        .data
        .as_ref()
        .is_some_and(|data| data.contains_key(&reference.key))
    {
        return Ok(problem(
            "SecretKeyMissing",
            format!("Secret {} has no key {}", reference.name, reference.key),
        ));
    }
    let versions = BTreeMap::from([(
        reference.name.clone(),
        secret.resource_version().unwrap_or_default(),
    )]);
    let resolved = plan::Resolved::new(&run.spec, digests, versions, operator, literal.as_ref());
    Ok(Ok(plan::summarise(
        &namespace, &name, &run.spec, &resolved,
    )?))
}

/// How the plan names a key of a ConfigMap.
fn address(reference: &ConfigMapKey) -> String {
    format!("{}/{}", reference.name, reference.key)
}

/// The bytes of a key of a ConfigMap.
async fn key_of(
    config_maps: &Api<ConfigMap>,
    namespace: &str,
    reference: &ConfigMapKey,
) -> Result<Result<Vec<u8>, Problem>, Error> {
    let ConfigMapKey { name, key } = reference;
    let found = call(format!("read ConfigMap {name}"), config_maps.get_opt(name)).await?;
    let Some(found) = found else {
        return Ok(problem(
            "ConfigMapMissing",
            format!("create ConfigMap {name} in {namespace}"),
        ));
    };
    match objects::config_map_bytes(&found, key) {
        Some(bytes) => Ok(Ok(bytes)),
        None => Ok(problem(
            "ConfigMapKeyMissing",
            format!("ConfigMap {name} has no key {key}"),
        )),
    }
}

/// The list of rows that a matrix names, and its digest, which is the one that the matrix pins.
pub(crate) async fn matrix(
    config_maps: &Api<ConfigMap>,
    namespace: &str,
    reference: &MatrixRef,
) -> Result<Result<(Literal, String), Problem>, Error> {
    let read = key_of(config_maps, namespace, &reference.config_map_ref).await?;
    Ok(read.and_then(|bytes| pinned(reference, &bytes)))
}

fn pinned(reference: &MatrixRef, bytes: &[u8]) -> Result<(Literal, String), Problem> {
    let at = address(&reference.config_map_ref);
    let digest = digest::hex(&Sha256::digest(bytes));
    if digest != reference.sha256 {
        return problem(
            "MatrixDigestMismatch",
            format!(
                "the matrix in ConfigMap key {at} has sha256 {digest}, and matrixRef.sha256 is another: restore the key or make a new DryRun"
            ),
        );
    }
    match Literal::read(bytes) {
        Ok(literal) => Ok((literal, digest)),
        Err(error) => problem(
            "MatrixInvalid",
            format!("the matrix in ConfigMap key {at} cannot be read: {error}"),
        ),
    }
}

fn problem<T>(reason: &str, message: String) -> Result<T, Problem> {
    Err(Problem::permanent(reason, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(sha256: String) -> MatrixRef {
        MatrixRef {
            config_map_ref: ConfigMapKey {
                name: "frozen".into(),
                key: "matrix.tsv.zst".into(),
            },
            sha256,
        }
    }

    #[test]
    fn a_matrix_is_what_was_pinned_or_nothing() {
        let text = b"schema\tiu\ta\tUSAGE\tfalse\t+\n";
        let digest = digest::hex(&Sha256::digest(text));
        let (_, found) = pinned(&reference(digest.clone()), text).unwrap();
        assert_eq!(found, digest);
        let other = pinned(&reference("0".repeat(64)), text).unwrap_err();
        assert_eq!(other.reason, "MatrixDigestMismatch");
        assert!(other.message.contains(&digest) && other.message.contains("frozen/matrix.tsv.zst"));
    }

    #[test]
    fn a_matrix_that_is_none_names_its_line() {
        let text = b"schema\tiu\ta\tUSAGE\tfalse\t+\nnothing\n";
        let digest = digest::hex(&Sha256::digest(text));
        let problem = pinned(&reference(digest), text).unwrap_err();
        assert_eq!(problem.reason, "MatrixInvalid");
        assert!(problem.message.contains("line 2 is no row"));
    }
}
