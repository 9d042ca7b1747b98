//! Resolves a plan: digests of ConfigMaps, versions of Secrets, the rows of a matrix that stands
//! elsewhere.
//!
//! All of it happens before an approval, for every user who may apply a DryRun: nothing of a Secret
//! is read that was not given for this source, and nothing is held that grows with what a ConfigMap
//! decompresses to.

use dryrun_core::plan::DeclaredRows;
use dryrun_core::plan::binding::{self, ANNOTATION};
use dryrun_core::run::id::RunRef;
use dryrun_core::{
    api::{ConfigMapKey, DryRun, MatrixRef, PlanSummary, SecretKeyRef, Source, bytes_of},
    digest, plan,
    postgres::matrix::InvalidLiteral,
    problem::Problem,
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, ResourceExt};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::context::Context;
use crate::error::{Error, call};
use crate::objects::{self};

/// Bytes of JSON that a spec may have: reports hold it whole, next to the facts.
const SPEC_LIMIT: usize = 200 << 10;

/// Bytes of evidence that may be kept: 64 ConfigMaps hold no more, and etcd is for the whole
/// cluster.
const EVIDENCE_LIMIT: u64 = 40 << 20;

/// Resolves the plan.
pub(crate) async fn resolve(
    context: &Context,
    run: &DryRun,
    operator: plan::Operator<'_>,
) -> Result<Result<PlanSummary, Problem>, Error> {
    let (client, sources) = (&context.client, &context.sources);
    let RunRef {
        namespace, name, ..
    } = RunRef::of(run);
    let size = serde_json::to_vec(&run.spec)?.len();
    if size > SPEC_LIMIT {
        let (size, limit) = (size >> 10, SPEC_LIMIT >> 10);
        return Ok(problem(
            "SpecTooLarge",
            format!(
                "the spec has {size} KiB, and may have {limit}: put scripts and data into inputs, and rows into a matrixRef"
            ),
        ));
    }
    let evidence = &run.spec.evidence.max_size;
    if bytes_of(evidence).is_ok_and(|bytes| bytes > EVIDENCE_LIMIT) {
        let (size, limit) = (&evidence.0, EVIDENCE_LIMIT >> 20);
        return Ok(problem(
            "EvidenceTooLarge",
            format!(
                "evidence.maxSize is {size}, and may be {limit}Mi: ConfigMaps keep the evidence"
            ),
        ));
    }
    let outside = &run.spec.isolation.outside_address;
    if outside.parse::<SocketAddr>().is_err() {
        return Ok(problem(
            "InvalidAddress",
            format!(
                "isolation.outsideAddress {outside} is no address and port, such as 192.0.2.1:443 or [2001:db8::1]:443: make a new DryRun"
            ),
        ));
    }
    let source = &run.spec.source;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let mut versions = BTreeMap::new();
    for reference in source.secrets() {
        match version_of(&secrets, &namespace, reference, source, sources).await? {
            Ok(version) => versions.insert(reference.name.clone(), version),
            Err(problem) => return Ok(Err(problem)),
        };
    }
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let mut digests = BTreeMap::new();
    let inputs = run
        .spec
        .harness
        .inputs
        .iter()
        .map(|input| &input.config_map_ref);
    let authority = source
        .ca_ref
        .as_ref()
        .and_then(|ca| ca.config_map_ref.as_ref());
    for reference in inputs.chain(authority) {
        match key_of(&config_maps, &namespace, reference).await? {
            Ok(bytes) => digests.insert(address(reference), digest::hex(&Sha256::digest(&bytes))),
            Err(problem) => return Ok(Err(problem)),
        };
    }
    let privileges = &run.spec.privileges;
    let counted = match &privileges.matrix_ref {
        Some(reference) => {
            // It is never closed.
            let _turn = context.matrices.acquire().await;
            match matrix(&config_maps, &namespace, reference).await? {
                Ok((bytes, digest)) => {
                    digests.insert(address(&reference.config_map_ref), digest);
                    DeclaredRows::listed(privileges, &bytes)
                        .map_err(|error| invalid(reference, &error))
                }
                Err(problem) => Err(problem),
            }
        }
        None => DeclaredRows::granted(privileges),
    };
    let rows = match counted {
        Ok(rows) => rows,
        Err(problem) => return Ok(Err(problem)),
    };
    let resolved = plan::Resolved::new(&run.spec, digests, versions, operator, rows);
    Ok(Ok(plan::summarise(
        &namespace, &name, &run.spec, &resolved,
    )?))
}

/// The version of a Secret that is for the source and has the key.
///
/// One that is not for it has the same problem as one that does not exist, and nothing but its
/// metadata is read: requesters may not list Secrets.
async fn version_of(
    secrets: &Api<Secret>,
    namespace: &str,
    SecretKeyRef { name, key }: &SecretKeyRef,
    source: &Source,
    sources: &[String],
) -> Result<Result<String, Problem>, Error> {
    let is_bound = |annotations: &BTreeMap<String, String>| {
        let annotation = annotations.get(ANNOTATION);
        annotation.is_some_and(|names| binding::names(names, source))
            || binding::lists(sources, namespace, name, source)
    };
    let doing = format!("read Secret {name}");
    let metadata = call(&doing, secrets.get_metadata_opt(name)).await?;
    let secret = match metadata {
        Some(found) if is_bound(found.annotations()) => call(&doing, secrets.get_opt(name)).await?,
        Some(_) | None => None,
    };
    let Some(secret) = secret.filter(|secret| is_bound(secret.annotations())) else {
        return Ok(Err(binding::problem(namespace, name, source)));
    };
    let keys = secret.data.as_ref();
    if !keys.is_some_and(|keys| keys.contains_key(key)) {
        return Ok(problem(
            "SecretKeyMissing",
            format!("Secret {name} has no key {key}"),
        ));
    }
    Ok(Ok(secret.resource_version().unwrap_or_default()))
}

/// Returns the plan's name for a key of a ConfigMap.
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

/// The bytes of the list of rows that a matrix names, and their digest, which is the one that the
/// matrix pins.
pub(crate) async fn matrix(
    config_maps: &Api<ConfigMap>,
    namespace: &str,
    reference: &MatrixRef,
) -> Result<Result<(Vec<u8>, String), Problem>, Error> {
    let read = key_of(config_maps, namespace, &reference.config_map_ref).await?;
    Ok(read.and_then(|bytes| pinned(reference, bytes)))
}

fn pinned(reference: &MatrixRef, bytes: Vec<u8>) -> Result<(Vec<u8>, String), Problem> {
    let at = address(&reference.config_map_ref);
    let digest = digest::hex(&Sha256::digest(&bytes));
    if digest != reference.sha256 {
        return problem(
            "MatrixDigestMismatch",
            format!(
                "the matrix in ConfigMap key {at} has sha256 {digest}, and matrixRef.sha256 is another: restore the key or make a new DryRun"
            ),
        );
    }
    Ok((bytes, digest))
}

/// The problem of a matrix that is no list of rows.
pub(crate) fn invalid(reference: &MatrixRef, error: &InvalidLiteral) -> Problem {
    let at = address(&reference.config_map_ref);
    Problem::permanent(
        "MatrixInvalid",
        format!("the matrix in ConfigMap key {at} cannot be read: {error}"),
    )
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
        let text = b"schema\tiu\ta\tUSAGE\tfalse\t+\n".to_vec();
        let digest = digest::hex(&Sha256::digest(&text));
        let (_, found) = pinned(&reference(digest.clone()), text.clone()).unwrap();
        assert_eq!(found, digest);
        let other = pinned(&reference("0".repeat(64)), text).unwrap_err();
        assert_eq!(other.reason, "MatrixDigestMismatch");
        assert!(other.message.contains(&digest) && other.message.contains("frozen/matrix.tsv.zst"));
    }

    #[test]
    fn a_matrix_that_is_none_names_its_line() {
        let problem = invalid(&reference(String::new()), &InvalidLiteral::NoRow(2));
        assert_eq!(problem.reason, "MatrixInvalid");
        assert!(problem.message.contains("line 2 is no row"));
    }
}
