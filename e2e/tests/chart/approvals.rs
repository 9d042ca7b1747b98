//! Who may request, and who may approve what.

use anyhow::{Context, Result};
use dryrun_core::api::{DryRun, DryRunApproval};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::desk::{Actor, Desk, Expected::Accepted, Expected::Refused};

/// `sha256:` and 64 times this digit.
fn hash(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

fn request(name: &str, by: &str) -> Value {
    json!({
        "apiVersion": "dryrun.dev/v1alpha1",
        "kind": "DryRun",
        "metadata": {"name": name},
        "spec": {
            "requestedBy": by,
            "source": {
                "host": "postgres.shop.svc", "user": "dump_ro", "database": "shop", "systemIdentifier": "1",
                "passwordSecretRef": {"name": "production", "key": "password"},
                "network": {"cidr": "192.0.2.10/32"},
            },
            "images": {"allowTags": true},
            "postgres": {"image": "postgres:17", "storage": {"size": "1Gi", "minimumFree": "1Gi"}},
            "privileges": {"roles": {"tool": {"login": true}}},
            "harness": {"image": "python:3", "scenarios": [{"name": "s", "as": {"login": "tool"}, "command": ["true"]}]},
        },
    })
}

fn approval(of: &DryRun, by: &Actor, plan: String) -> Value {
    json!({
        "apiVersion": "dryrun.dev/v1alpha1",
        "kind": "DryRunApproval",
        "metadata": {"name": "approval"},
        "spec": {
            "dryRunName": of.name_any(),
            "dryRunUID": of.uid(),
            "planHash": plan,
            "approvedBy": by.user,
            "expiresAt": "2100-01-01T00:00:00Z",
        },
    })
}

fn with(mut object: Value, field: &str, value: &str) -> Value {
    object["spec"][field] = value.into();
    object
}

pub(crate) async fn check(desk: &Desk) -> Result<()> {
    let Desk {
        admin,
        alice,
        bob,
        carol,
        dave,
        ..
    } = desk;
    let sentence = format!("spec.requestedBy must be the creating user: {}", alice.user);
    alice
        .create::<DryRun>(Refused(&sentence), request("run", &bob.user))
        .await?;
    alice
        .create::<DryRun>(Accepted, request("run", &alice.user))
        .await?;
    bob.create::<DryRun>(
        Refused("cannot create resource \"dryruns\""),
        request("run", &bob.user),
    )
    .await?;

    let run: DryRun = alice.make(request("run", &alice.user)).await?;
    let own: DryRun = carol.make(request("own", &carol.user)).await?;
    let no_plan = "planHash is not the hash of the current plan";
    bob.create::<DryRunApproval>(Refused(no_plan), approval(&run, bob, hash('a')))
        .await?;
    for name in ["run", "own"] {
        let plan = json!({"status": {"plan": {"hash": hash('a'), "resolved": {}}}});
        admin
            .api::<DryRun>()
            .patch_status(name, &PatchParams::default(), &Patch::Merge(&plan))
            .await?;
    }

    let good = approval(&run, bob, hash('a'));
    bob.create::<DryRunApproval>(Accepted, good.clone()).await?;
    bob.create::<DryRunApproval>(Refused(no_plan), approval(&run, bob, hash('b')))
        .await?;
    let other_uid = own.uid().context("a DryRun has no UID")?;
    bob.create::<DryRunApproval>(
        Refused("dryRunUID does not match"),
        with(good.clone(), "dryRunUID", &other_uid),
    )
    .await?;
    let sentence = format!("spec.approvedBy must be the calling user: {}", bob.user);
    bob.create::<DryRunApproval>(
        Refused(&sentence),
        with(good.clone(), "approvedBy", &alice.user),
    )
    .await?;
    let sentence = format!("{} may not approve DryRun run", dave.user);
    dave.create::<DryRunApproval>(Refused(&sentence), approval(&run, dave, hash('a')))
        .await?;
    alice
        .create::<DryRunApproval>(
            Refused("cannot create resource \"dryrunapprovals\""),
            approval(&run, alice, hash('a')),
        )
        .await?;
    carol
        .create::<DryRunApproval>(Accepted, approval(&run, carol, hash('a')))
        .await?;
    let own_request = "a DryRun cannot be approved by the person who requested it";
    carol
        .create::<DryRunApproval>(Refused(own_request), approval(&own, carol, hash('a')))
        .await?;

    bob.make::<DryRunApproval>(good).await?;
    let changed = json!({"spec": {"planHash": hash('b')}});
    admin
        .patch::<DryRunApproval>(
            Refused("an approval is immutable: make another one"),
            "approval",
            changed,
        )
        .await?;
    let changed = json!({"spec": {"requestedBy": "somebody"}});
    admin
        .patch::<DryRun>(
            Refused("spec is immutable: a new run is a new DryRun"),
            "run",
            changed,
        )
        .await?;

    for name in ["run", "own"] {
        alice
            .api::<DryRun>()
            .delete(name, &DeleteParams::default())
            .await?;
    }
    Ok(())
}
