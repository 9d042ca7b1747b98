//! Whole runs through the real reconcile loop.

use dryrun_core::api::DryRunReport;
use dryrun_core::run::object::RunPod;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DeleteParams};

use crate::cluster::{Cluster, NAME, NAMESPACE};
use crate::model_apiserver::Model;
use crate::model_apiserver::faults::{
    Effect, Fault, MakeEffect, conflict, forbidden, internal, on, too_many_requests,
};

#[test]
fn a_run_passes_all_gates_and_leaves_nothing() {
    let cluster = Cluster::new();
    let status = cluster.complete();
    cluster.assert_passed(&status, "undisturbed");
    let report = cluster.report().unwrap().status.unwrap();
    assert_eq!(report.outcome, status.outcome);
    assert!(report.expires_at.is_some());
    assert_eq!(
        cluster.model.all::<ConfigMap>().len(),
        2,
        "an input, and the evidence"
    );
    let calls = cluster.model.calls();
    let count = |pattern: &str| calls.iter().filter(|call| on(pattern)(call)).count();
    let statuses = count("apply dryruns/demo/status");
    assert!(statuses <= 12, "{statuses} status writes");
    let refused: Vec<String> = calls
        .iter()
        .filter(|call| call.write.is_some() && call.answer.is_none_or(|code| code >= 400))
        .map(crate::model_apiserver::faults::Call::text)
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
    let events = cluster.model.all::<Event>();
    let passed = events
        .iter()
        .filter(|event| event.reason.as_deref() == Some("GatePassed"));
    assert_eq!(passed.count(), 25);
}

/// Another person, or a gate, ends it: what C-13 does is done, and nothing else.
#[test]
fn a_failed_gate_leads_to_teardown() {
    let cluster = Cluster::finding(|facts| {
        facts.roles.as_mut().unwrap().applied.errors = vec!["cannot grant".into()];
    });
    let status = cluster.complete();
    assert_eq!(status.outcome.unwrap().as_str(), "Failed");
    assert!(status.failed_gate.unwrap().starts_with("G-09"));
    cluster.assert_nothing_left("a gate failed");
    assert_eq!(cluster.done(on("create pods/demo-harness")), 0);
    assert_eq!(
        cluster.done(on("create pods/demo-seal")),
        1,
        "what there is is sealed"
    );
}

/// A webhook adds a container: the pod is given nothing to do.
#[test]
fn a_pod_that_was_changed_gets_no_task() {
    for (pod, gate, task) in [
        (RunPod::Dump, "G-19", "dump-1"),
        (RunPod::Postgres, "G-07", "prepare-copy"),
        (RunPod::Restore, "G-19", "restore"),
        (RunPod::Harness, "G-11", "inputs"),
        (RunPod::Identity, "G-19", "inputs"),
        (RunPod::Seal, "G-19", "search"),
    ] {
        let cluster = Cluster::new();
        let name = format!("{NAME}-{}", pod.role());
        cluster.model.state().pods.meshed.insert(name);
        cluster.pods.fail(task, "GivenTask");
        let status = cluster.complete();
        let failed = status.failed_gate.unwrap_or_default();
        assert!(failed.starts_with(gate), "{pod:?}: {failed}");
        let told = cluster.told();
        assert!(told.contains("mesh was added to containers"), "{told}");
        assert!(!told.contains("GivenTask"), "{told}");
        cluster.assert_nothing_left(pod.role());
    }
}

#[test]
fn a_job_that_fails_ends_the_run() {
    let cluster = Cluster::new();
    cluster.pods.fail("scenario-1", "RunnerFailed");
    let status = cluster.complete();
    assert_eq!(status.outcome.unwrap().as_str(), "Inconclusive");
    let scenarios = status
        .conditions
        .iter()
        .find(|c| c.type_ == "ScenariosPassed")
        .unwrap();
    assert_eq!(scenarios.reason, "RunnerFailed");
    cluster.assert_nothing_left("a job failed");
}

#[test]
fn a_run_that_is_deleted_is_torn_down_wherever_it_is() {
    for word in [
        "/v1/tasks/dump",
        "/v1/tasks/probe",
        "restore",
        "scenario-2",
        "/v1/tasks/seal",
    ] {
        let cluster = Cluster::new();
        cluster.pods.stick(word);
        cluster.operate(async {
            cluster.begin().await;
            cluster.pods.stuck().await;
            cluster.delete().await;
            if word == "/v1/tasks/seal" {
                cluster.pods.stick("");
            }
            cluster.gone().await;
        });
        cluster.assert_nothing_left(word);
        let report = cluster.report().unwrap().status.unwrap();
        assert!(
            report.outcome.is_some(),
            "{word}: the report says how it ended"
        );
    }
}

#[test]
fn a_run_that_is_deleted_before_its_approval_has_made_nothing() {
    let cluster = Cluster::new();
    cluster.operate(async {
        cluster.ask().await;
        cluster.condition("Approved", "AwaitingApproval").await;
        cluster.delete().await;
        cluster.gone().await;
    });
    assert_eq!(
        cluster.done(|call| call.verb == "create" && call.plural != "events"),
        0
    );
}

/// The report is the mark that the approval was used.
#[test]
fn a_run_whose_report_is_deleted_ends() {
    let cluster = Cluster::new();
    cluster.pods.stick("scenario-0");
    let status = cluster.operate(async {
        cluster.begin().await;
        cluster.pods.stuck().await;
        let reports: Api<DryRunReport> = Api::namespaced(cluster.model.user(), NAMESPACE);
        let name = cluster.report().unwrap().metadata.name.unwrap();
        reports
            .delete(&name, &DeleteParams::default())
            .await
            .unwrap();
        cluster.ended().await
    });
    let status = status.unwrap();
    assert_eq!(status.outcome.unwrap().as_str(), "Inconclusive");
    cluster.assert_nothing_left("the report was deleted");
    assert_eq!(
        cluster.done(on("create dryrunreports/*")),
        1,
        "it is not made anew"
    );
}

#[test]
fn writes_of_report_and_status_that_fail_are_made_again() {
    let cluster = Cluster::new();
    let effects: [MakeEffect; 5] = [
        || Effect::Refuse(conflict()),
        || Effect::Refuse(internal()),
        || Effect::LoseAnswer,
        || Effect::HangAfter,
        || Effect::Refuse(too_many_requests()),
    ];
    for pattern in ["apply dryruns/demo/status", "apply dryrunreports/*/status"] {
        for (n, effect) in effects.into_iter().enumerate() {
            cluster
                .model
                .fault(Fault::times(1, on(pattern), effect).after(n * 2));
        }
    }
    let status = cluster.complete();
    cluster.assert_passed(&status, "writes that fail");
}

/// Facts that another writer has left in the report since it was read are never replaced by older
/// ones.
#[test]
fn a_report_that_has_changed_since_it_was_read_is_read_again() {
    let cluster = Cluster::new();
    let touched = Effect::First(Box::new(|state| {
        let report = state.store.of("dryrunreports", NAMESPACE).next();
        let report = report.unwrap().0.clone();
        state.store.change(&report, |report| {
            report["metadata"]["annotations"] = serde_json::json!({"touched": "yes"});
        });
    }));
    let write = "apply dryrunreports/*/status";
    cluster
        .model
        .fault(Fault::once(on(write), touched).after(2));
    let status = cluster.complete();
    cluster.assert_passed(&status, "a report that has changed");
    let refused =
        |call: &crate::model_apiserver::faults::Call| on(write)(call) && call.answer == Some(409);
    assert_eq!(cluster.model.count(refused), 1);
}

/// Events are never evidence, and must not hold up a run.
#[test]
fn events_that_cannot_be_published_hold_up_nothing() {
    let effects: [MakeEffect; 2] = [|| Effect::Refuse(forbidden()), || Effect::Hang];
    for effect in effects {
        let cluster = Cluster::new();
        cluster
            .model
            .fault(Fault::times(usize::MAX, on("create events"), effect));
        let status = cluster.complete();
        cluster.assert_passed(&status, "no events");
        assert!(cluster.model.all::<Event>().is_empty());
    }
}

/// Long enough for a pass, in the time of the runtime.
async fn pause() {
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
}

#[test]
fn watches_that_are_late_lose_nothing() {
    let cluster = Cluster::new();
    let status = cluster.operate(async {
        cluster.begin().await;
        for at in [
            "create pods/demo-dump",
            "create pods/demo-harness",
            "delete pods/demo-seal",
        ] {
            cluster.called(1, on(at)).await;
            cluster.model.hold_watches(true);
            pause().await;
            cluster.model.hold_watches(false);
        }
        cluster.ended().await
    });
    cluster.assert_passed(&status.unwrap(), "late");
}

/// Connections that die without a word cost seconds each time, not the deadline of a command.
#[test]
fn watches_that_fall_silent_are_taken_up_again() {
    let cluster = Cluster::new();
    let (status, took) = cluster
        .operate(async {
            let begin = tokio::time::Instant::now();
            cluster.ask().await;
            cluster.condition("Approved", "AwaitingApproval").await;
            cluster.model.silence_watches();
            cluster.approve().await;
            for at in [
                "create pods/demo-dump",
                "create pods/demo-postgres",
                "create pods/demo-harness",
            ] {
                cluster.called(1, on(at)).await;
                cluster.model.silence_watches();
            }
            (cluster.ended().await, begin.elapsed())
        })
        .unwrap();
    cluster.assert_passed(&status, "silent");
    assert!(took.as_secs() < 180, "{took:?}");
}

#[test]
fn watches_that_break_lose_nothing() {
    for (what, happens) in [
        ("they end", Model::drop_watches as fn(&Model)),
        ("their versions are compacted away", |model| {
            model.hold_watches(true);
            model.compact();
            model.hold_watches(false);
            model.drop_watches();
        }),
        ("bookmarks come", |model| {
            model.bookmark();
            model.compact();
            model.drop_watches();
        }),
    ] {
        let cluster = Cluster::new();
        let status = cluster.operate(async {
            cluster.begin().await;
            for at in [
                "create pods/demo-dump",
                "delete pods/demo-dump",
                "create pods/demo-harness",
                "delete pods/demo-seal",
            ] {
                cluster.called(1, on(at)).await;
                happens(&cluster.model);
            }
            cluster.ended().await
        });
        cluster.assert_passed(&status.unwrap(), what);
    }
}

/// An apiserver that lists nothing for a while is waited for.
#[test]
fn an_apiserver_that_is_away_at_first_is_waited_for() {
    let cluster = Cluster::new();
    for plural in ["dryruns", "dryrunapprovals", "dryrunreports", "pods"] {
        let list = move |call: &crate::model_apiserver::faults::Call| {
            call.verb == "list" && call.plural == plural
        };
        cluster
            .model
            .fault(Fault::times(3, list, || Effect::LoseRequest));
    }
    let status = cluster.complete();
    cluster.assert_passed(&status, "away at first");
}
