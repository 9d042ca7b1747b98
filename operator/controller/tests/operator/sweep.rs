//! Every write of a run meets every fault: the run ends as if there had been none, and nothing is made twice.

use dryrun_core::api::Outcome;
use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::Cluster;
use crate::model_apiserver::faults::{
    Call, Effect, Fault, MakeEffect, conflict, internal, on, timeout, write,
};

/// Fails unless the run has passed, and each object was made once and deleted once.
fn assert_undisturbed(cluster: &Cluster, what: &str) {
    let status = cluster.run().unwrap().status.unwrap();
    cluster.assert_passed(&status, what);
    assert_eq!(
        cluster.report().unwrap().status.unwrap().outcome,
        Some(Outcome::Passed),
        "{what}"
    );
    let mut done = BTreeMap::<String, usize>::new();
    let calls = cluster.model.calls();
    for call in calls
        .iter()
        .filter(|call| call.committed && ["create", "delete"].contains(&call.verb))
    {
        if call.plural != "events" {
            *done.entry(call.text()).or_default() += 1;
        }
    }
    done.retain(|_, times| *times > 1);
    assert!(done.is_empty(), "{what}: done more than once: {done:?}");
}

/// Kills the operator at every write, one life a write, until the run is over.
fn kill_at_every_write(effect: MakeEffect, spared: usize, what: &str) {
    let cluster = Cluster::new();
    let mut lives = 0;
    loop {
        let past = cluster
            .model
            .calls()
            .iter()
            .filter(|call| call.write.is_some())
            .count();
        // What a life has before it dies, so that it comes on.
        let matches = move |call: &Call| call.write.is_some_and(|n| n > past + spared);
        cluster.model.fault(Fault::once(matches, effect()));
        let run = async {
            cluster.begin().await;
            cluster.ended().await
        };
        let ended = cluster.operate(run);
        cluster.model.forget_faults();
        if ended.is_some() {
            break;
        }
        lives += 1;
        assert!(
            lives < 200,
            "{what}: it does not come on: {}",
            cluster.told()
        );
    }
    assert!(lives > 30, "{what}: {lives} lives");
    assert_undisturbed(&cluster, what);
}

#[test]
fn killed_after_every_write() {
    kill_at_every_write(|| Effect::KillAfter, 0, "killed after every write");
}

#[test]
fn killed_after_every_second_write() {
    kill_at_every_write(|| Effect::KillAfter, 1, "killed after every second write");
}

#[test]
fn killed_before_every_second_write() {
    kill_at_every_write(|| Effect::KillBefore, 1, "killed before every second write");
}

/// What meets the first attempt at every write.
fn at_every_write(effect: MakeEffect, what: &str) {
    let cluster = Cluster::new();
    let met = std::sync::Mutex::new(BTreeMap::<String, usize>::new());
    // A write of the report is another one each time: so every second of the same name is let through.
    let matches = move |call: &Call| {
        let mut met = met.lock().unwrap();
        if call.write.is_none() {
            return false;
        }
        let times = met.entry(call.text()).or_default();
        *times += 1;
        *times % 2 == 1
    };
    cluster
        .model
        .fault(Fault::times(usize::MAX, matches, effect));
    cluster.complete();
    assert_undisturbed(&cluster, what);
}

#[test]
fn every_answer_is_lost() {
    at_every_write(|| Effect::LoseAnswer, "every answer is lost");
}

#[test]
fn every_request_is_lost() {
    at_every_write(|| Effect::LoseRequest, "every request is lost");
}

#[test]
fn every_write_is_refused_first() {
    at_every_write(|| Effect::Refuse(internal()), "500");
    at_every_write(|| Effect::Refuse(conflict()), "409");
}

#[test]
fn every_write_times_out_and_is_carried_out() {
    at_every_write(|| Effect::RefuseAfter(timeout()), "504 with commit");
}

/// One fault a run, at each of its writes in turn. Some hundred runs: `cargo test -p dryrun-controller -- --ignored`.
#[test]
#[ignore = "takes minutes: one run for every write and fault"]
fn one_fault_at_each_write() {
    let effects: [(&str, MakeEffect); 6] = [
        ("killed before", || Effect::KillBefore),
        ("killed after", || Effect::KillAfter),
        ("its answer lost", || Effect::LoseAnswer),
        ("hangs", || Effect::HangAfter),
        ("409", || Effect::Refuse(conflict())),
        ("504 with commit", || Effect::RefuseAfter(timeout())),
    ];
    let cluster = Cluster::new();
    cluster.complete();
    let writes: BTreeSet<usize> = cluster
        .model
        .calls()
        .iter()
        .filter_map(|call| call.write)
        .collect();
    for n in writes {
        for (what, effect) in effects {
            let cluster = Cluster::new();
            cluster.model.fault(Fault::once(write(n), effect()));
            cluster.complete();
            assert_undisturbed(&cluster, &format!("write {n} {what}"));
        }
    }
    assert_eq!(cluster.done(on("create dryrunreports/*")), 1);
}
