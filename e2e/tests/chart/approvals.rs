//! Permissions of requesters, approvers and abandoners, limits of approvals, and the authenticity
//! of the operator's records.

use anyhow::{Context, Result};
use dryrun_core::api::{DryRun, DryRunApproval, DryRunReport};
use dryrun_core::run::id::{ABANDONED_BY, FINALIZER};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::actors::{Actor, Actors, Expected::Accepted, Expected::Refused};

/// `sha256:` followed by 64 times this digit.
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
            "isolation": {"outsideAddress": "192.0.2.1:443"},
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
            "expiresAt": within(SignedDuration::from_hours(1)),
        },
    })
}

/// The time after this span, in the API's format.
fn within(span: SignedDuration) -> String {
    format!("{:.0}", Timestamp::now() + span)
}

fn with(mut object: Value, field: &str, value: &str) -> Value {
    object["spec"][field] = value.into();
    object
}

pub(crate) async fn check(actors: &Actors) -> Result<()> {
    let Actors {
        admin,
        alice,
        bob,
        carol,
        dave,
        ..
    } = actors;
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
        actors
            .operator
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

    let week = SignedDuration::from_hours(7 * 24);
    let minute = SignedDuration::from_mins(1);
    for (expected, expires) in [
        (Refused("expiresAt has passed already"), within(-minute)),
        (
            Refused("expiresAt is more than 7 days away"),
            within(week + minute),
        ),
        (Accepted, within(week - minute)),
        (Accepted, within(minute)),
    ] {
        bob.create::<DryRunApproval>(expected, with(good.clone(), "expiresAt", &expires))
            .await?;
    }

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

    records(actors, &run).await?;
    abandonment(actors).await?;
    for name in ["run", "own"] {
        alice
            .api::<DryRun>()
            .delete(name, &DeleteParams::default())
            .await?;
    }
    Ok(())
}

/// Only the operator may write reports and status: a forged report would start a run, a forged
/// status would show another plan.
async fn records(actors: &Actors, run: &DryRun) -> Result<()> {
    let sentence = "only the DryRun operator may write reports and the status of DryRuns";
    let report = json!({
        "metadata": {"name": "report"},
        "spec": {
            "dryRunName": "run", "dryRunUID": run.uid(), "planHash": hash('a'), "plan": {},
            "requestedBy": actors.alice.user, "approvedBy": actors.bob.user, "approvalName": "approval", "approvalUID": "",
        },
    });
    let everybody = [&actors.admin, &actors.root];
    for actor in everybody {
        actor
            .create::<DryRunReport>(Refused(sentence), report.clone())
            .await?;
    }
    actors.operator.make::<DryRunReport>(report).await?;
    let annotated = json!({"metadata": {"annotations": {"example.com/touched": "yes"}}});
    let plan = json!({"status": {"plan": {"hash": hash('c'), "resolved": {}}}});
    let verdict = json!({"status": {"verdict": ["all is well"]}});
    for actor in everybody {
        actor
            .patch_status::<DryRun>(Refused(sentence), "run", plan.clone())
            .await?;
        actor
            .patch_status::<DryRunReport>(Refused(sentence), "report", verdict.clone())
            .await?;
    }
    actors
        .operator
        .patch_status::<DryRun>(Accepted, "run", plan)
        .await?;
    actors
        .operator
        .patch_status::<DryRunReport>(Accepted, "report", verdict)
        .await?;
    actors
        .root
        .patch::<DryRunReport>(Refused(sentence), "report", annotated.clone())
        .await?;
    actors
        .root
        .delete::<DryRunReport>(Refused(sentence), "report")
        .await?;
    actors
        .root
        .delete_all::<DryRunReport>(Refused(sentence))
        .await?;
    actors
        .admin
        .patch::<DryRunReport>(Accepted, "report", annotated)
        .await?;
    for actor in [
        &actors.admin,
        &actors.collector,
        &actors.namespaces,
        &actors.operator,
    ] {
        actor.delete::<DryRunReport>(Accepted, "report").await?;
    }
    actors
        .operator
        .api::<DryRunReport>()
        .delete("report", &DeleteParams::default())
        .await?;
    Ok(())
}

/// Only users with the verb abandon may force the end of a run, and only in their own name.
async fn abandonment(actors: &Actors) -> Result<()> {
    let Actors {
        alice, dave, erin, ..
    } = actors;
    let by = |name: Value| json!({"metadata": {"annotations": {ABANDONED_BY: name}}});
    let may_not = |actor: &Actor, run: &str| format!("{} may not abandon DryRun {run}", actor.user);
    let own_name = format!("must be the calling user: {}", erin.user);

    let mut born_so = request("born-abandoned", &alice.user);
    born_so["metadata"]["annotations"] = json!({ABANDONED_BY: alice.user});
    alice
        .create::<DryRun>(Refused(&may_not(alice, "born-abandoned")), born_so)
        .await?;
    let dave_may_not = may_not(dave, "run");
    dave.patch::<DryRun>(Refused(&dave_may_not), "run", by(json!(dave.user)))
        .await?;
    erin.patch::<DryRun>(Refused(&own_name), "run", by(json!(dave.user)))
        .await?;
    erin.patch::<DryRun>(Accepted, "run", by(json!(erin.user)))
        .await?;
    erin.api::<DryRun>()
        .patch(
            "run",
            &PatchParams::default(),
            &Patch::Merge(by(json!(erin.user))),
        )
        .await?;
    dave.patch::<DryRun>(Refused(&dave_may_not), "run", by(json!(dave.user)))
        .await?;
    dave.patch::<DryRun>(Refused(&dave_may_not), "run", by(Value::Null))
        .await?;
    erin.patch::<DryRun>(Accepted, "run", by(Value::Null))
        .await?;
    // Other changes to the object leave the annotation in place.
    dave.patch::<DryRun>(
        Accepted,
        "run",
        json!({"metadata": {"labels": {"example.com/team": "shop"}}}),
    )
    .await?;

    let mut finalized = request("finalized-run", &alice.user);
    finalized["metadata"]["finalizers"] = json!([FINALIZER]);
    alice.make::<DryRun>(finalized).await?;
    let removed = json!({"metadata": {"finalizers": null}});
    dave.patch::<DryRun>(
        Refused(
            "only the DryRun operator and users with the verb abandon may remove the finalizer dryrun.dev/teardown",
        ),
        "finalized-run",
        removed.clone(),
    )
    .await?;
    for actor in [&actors.operator, &actors.admin, erin] {
        actor
            .patch::<DryRun>(Accepted, "finalized-run", removed.clone())
            .await?;
    }
    erin.api::<DryRun>()
        .patch(
            "finalized-run",
            &PatchParams::default(),
            &Patch::Merge(&removed),
        )
        .await?;
    alice
        .api::<DryRun>()
        .delete("finalized-run", &DeleteParams::default())
        .await?;
    Ok(())
}
