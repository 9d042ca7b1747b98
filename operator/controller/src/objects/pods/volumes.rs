//! Volumes and mounts, and which keys of which Secret are in them.

use dryrun_core::run::container::Container;
use dryrun_core::run::layout::{AGENT_DIR, SECRETS_DIR, SOURCE_CA_FILE, SOURCE_FILE, TOKEN_FILE};
use dryrun_core::run::object::{Object, RunVolume};
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, EmptyDirVolumeSource, KeyToPath, PersistentVolumeClaimVolumeSource,
    ProjectedVolumeSource, SecretProjection, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::objects::Plan;

pub(super) fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: volume.into(),
        mount_path: path.into(),
        ..VolumeMount::default()
    }
}

/// A part of a volume: no pod mounts the whole of one.
pub(super) fn part(volume: &str, sub_path: &str, path: &str) -> VolumeMount {
    VolumeMount {
        sub_path: Some(sub_path.into()),
        ..mount(volume, path)
    }
}

pub(super) fn read_only(mount: VolumeMount) -> VolumeMount {
    VolumeMount {
        read_only: Some(true),
        ..mount
    }
}

pub(super) fn agent_mount() -> VolumeMount {
    read_only(mount("agent", AGENT_DIR))
}

pub(super) fn secrets_mount() -> VolumeMount {
    read_only(mount("secrets", SECRETS_DIR))
}

pub(super) fn secrets_volume(sources: Vec<VolumeProjection>) -> Volume {
    projected("secrets", sources)
}

/// Secrets readable for the run's group: 0400 could not be read by a container that is not root.
pub(super) fn projected(name: &str, sources: Vec<VolumeProjection>) -> Volume {
    Volume {
        name: name.into(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(0o440),
            sources: Some(sources),
        }),
        ..Volume::default()
    }
}

/// Keys of the run's Secret, and the file names that they get.
pub(super) fn run_keys(plan: &Plan<'_>, keys: &[(String, &str)]) -> VolumeProjection {
    secret(&plan.run.name_of(Object::Secret), keys)
}

/// The control token of an agent, and other keys of the run's Secret.
pub(super) fn token(
    plan: &Plan<'_>,
    container: Container,
    others: &[(&str, &str)],
) -> VolumeProjection {
    let token = container.token().map(|key| (key, TOKEN_FILE));
    let others = others.iter().map(|(key, file)| ((*key).to_owned(), *file));
    run_keys(plan, &token.into_iter().chain(others).collect::<Vec<_>>())
}

/// Production's password.
pub(super) fn source_key(plan: &Plan<'_>) -> VolumeProjection {
    let reference = &plan.spec.source.password_secret_ref;
    secret(&reference.name, &[(reference.key.clone(), SOURCE_FILE)])
}

/// Production's password, and the authority of its certificate.
pub(super) fn source_keys(plan: &Plan<'_>) -> impl Iterator<Item = VolumeProjection> {
    let ca = plan.spec.source.ca_ref.as_ref();
    let of_secret = ca.and_then(|ca| ca.secret_ref.as_ref());
    let of_secret = of_secret.map(|ca| secret(&ca.name, &[(ca.key.clone(), SOURCE_CA_FILE)]));
    let of_config_map = ca.and_then(|ca| ca.config_map_ref.as_ref());
    let of_config_map = of_config_map.map(|ca| VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name: ca.name.clone(),
            items: Some(vec![KeyToPath {
                key: ca.key.clone(),
                path: SOURCE_CA_FILE.into(),
                mode: None,
            }]),
            optional: Some(false),
        }),
        ..VolumeProjection::default()
    });
    let password = std::iter::once(source_key(plan));
    password.chain(of_secret).chain(of_config_map)
}

pub(super) fn secret(name: &str, keys: &[(String, &str)]) -> VolumeProjection {
    let items = keys
        .iter()
        .map(|(key, path)| KeyToPath {
            key: key.clone(),
            path: (*path).into(),
            mode: None,
        })
        .collect();
    VolumeProjection {
        secret: Some(SecretProjection {
            name: name.into(),
            items: Some(items),
            optional: Some(false),
        }),
        ..VolumeProjection::default()
    }
}

pub(super) fn agent_volume() -> Volume {
    disk("agent", Quantity("128Mi".into()))
}

/// A directory on the node. The kubelet ends a pod that writes more into it than it may: the node's
/// disk is for others, too.
pub(super) fn disk(name: &str, size: Quantity) -> Volume {
    Volume {
        name: name.into(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(size),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }
}

pub(super) fn memory(name: &str) -> Volume {
    let source = EmptyDirVolumeSource {
        medium: Some("Memory".into()),
        size_limit: Some(Quantity("256Mi".into())),
    };
    Volume {
        name: name.into(),
        empty_dir: Some(source),
        ..Volume::default()
    }
}

pub(super) fn data(plan: &Plan<'_>) -> Volume {
    claimed("data", &plan.run.name_of(RunVolume::Data))
}

pub(super) fn evidence(plan: &Plan<'_>) -> Volume {
    claimed("evidence", &plan.run.name_of(RunVolume::Evidence))
}

pub(super) fn claimed(name: &str, claim: &str) -> Volume {
    let source = PersistentVolumeClaimVolumeSource {
        claim_name: claim.into(),
        read_only: None,
    };
    Volume {
        name: name.into(),
        persistent_volume_claim: Some(source),
        ..Volume::default()
    }
}
