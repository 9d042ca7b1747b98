//! Every request of three runs meets every fault: each run ends as if there had been none, and
//! nothing is made twice.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};

use crate::cluster::Cluster;
use crate::model_apiserver::faults::{
    Call, Effect, Fault, MakeEffect, conflict, internal, on, timeout, too_many_requests, write,
};
use crate::oracle;

/// A run, and what users do in it.
#[derive(Clone, Copy, Debug)]
enum Run {
    /// It passes all gates.
    Happy,
    /// A gate fails in its middle.
    Aborted,
    /// alice deletes it while a scenario runs.
    Deleted,
}

impl Run {
    const ALL: [Self; 3] = [Self::Happy, Self::Aborted, Self::Deleted];

    fn cluster(self) -> Cluster {
        match self {
            Self::Happy => Cluster::new(),
            Self::Aborted => Cluster::finding(|facts| {
                facts.roles.as_mut().unwrap().applied.errors = vec!["cannot grant".into()];
            }),
            Self::Deleted => {
                let cluster = Cluster::new();
                cluster.pods.stick("scenario-1");
                cluster
            }
        }
    }

    /// Does what users do from where the run is, and waits for its end.
    async fn walk(self, cluster: &Cluster) {
        match self {
            Self::Happy | Self::Aborted => {
                cluster.begin().await;
                cluster.ended().await;
            }
            Self::Deleted => {
                let deleted =
                    |run: &dryrun_core::api::DryRun| run.metadata.deletion_timestamp.is_some();
                match cluster.run() {
                    None if cluster.report().is_some() => return,
                    Some(run) if deleted(&run) => {}
                    Some(_) | None => {
                        cluster.begin().await;
                        cluster.pods.stuck().await;
                        cluster.delete().await;
                    }
                }
                cluster.gone().await;
            }
        }
    }

    /// Brings the run to its end, with as many operators after each other as it takes.
    fn complete(self, cluster: &Cluster) {
        while cluster.operate(self.walk(cluster)).is_none() {}
    }

    /// The end of the undisturbed run, and the number of its writes.
    fn undisturbed(self) -> &'static (Value, usize) {
        static ENDS: [OnceLock<(Value, usize)>; 3] = [const { OnceLock::new() }; 3];
        ENDS[self as usize].get_or_init(|| {
            let cluster = self.cluster();
            self.complete(&cluster);
            let writes = cluster.model.count(|call| call.write.is_some());
            (oracle::end(&cluster), writes)
        })
    }
}

/// Fails unless the run has ended like this, and each object was made once and deleted once.
fn assert_undisturbed(cluster: &Cluster, end: &Value, what: &str) {
    assert_eq!(oracle::end(cluster), *end, "{what}: {}", cluster.told());
    cluster.assert_nothing_left(what);
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
///
/// A life is spared what every life does again and what brings the run no further: the note in the
/// report that no operator watched before it, and creates of evidence that an earlier life has
/// stored. Beside them it is spared so many writes.
fn kill_at_every_write(effect: MakeEffect, spared: usize, what: &str) {
    let (end, _) = Run::Happy.undisturbed();
    let cluster = Run::Happy.cluster();
    let mut lives = 0;
    loop {
        let past = cluster.model.count(|call| call.write.is_some());
        let stored = cluster.model.state().store.objects("configmaps");
        let stored: Vec<Value> = stored
            .iter()
            .map(|c| c["metadata"]["name"].clone())
            .collect();
        let again = Mutex::new(0);
        let matches = move |call: &Call| {
            let Some(nth) = call.write.map(|n| n - past) else {
                return false;
            };
            let mut again = again.lock().unwrap();
            let note = nth == 1 && on("apply dryrunreports/*/status")(call);
            let evidence = on("create configmaps")(call) && stored.contains(&json!(call.name));
            *again += usize::from(note || evidence);
            nth > spared + *again
        };
        cluster.model.fault(Fault::once(matches, effect()));
        let ended = cluster.operate(Run::Happy.walk(&cluster));
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
    assert_undisturbed(&cluster, end, what);
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

const CRASHES: [(&str, MakeEffect); 3] = [
    ("killed before", || Effect::KillBefore),
    ("killed after", || Effect::KillAfter),
    ("answer lost", || Effect::LoseAnswer),
];

const FAILURES: [(&str, MakeEffect); 8] = [
    ("409", || Effect::Refuse(conflict())),
    ("429", || Effect::Refuse(too_many_requests())),
    ("500", || Effect::Refuse(internal())),
    ("504", || Effect::Refuse(timeout())),
    ("504 with commit", || Effect::RefuseAfter(timeout())),
    ("reset", || Effect::LoseRequest),
    ("hang", || Effect::Hang),
    ("hang with commit", || Effect::HangAfter),
];

/// A fault that meets every second write of the same text, the first one too.
fn every_second_write(effect: MakeEffect) -> Fault {
    let met = Mutex::new(BTreeMap::<String, usize>::new());
    let matches = move |call: &Call| {
        if call.write.is_none() {
            return false;
        }
        let mut met = met.lock().unwrap();
        let times = met.entry(call.text()).or_default();
        *times += 1;
        *times % 2 == 1
    };
    Fault::times(usize::MAX, matches, effect)
}

/// All effects meet all writes of one of the runs or another; all of each:
/// [`every_write_of_every_run_fails_at_first`].
#[test]
fn every_write_fails_at_first() {
    writes_fail_at_first(Run::ALL.len());
}

/// `cargo test -p dryrun-controller --test operator -- --ignored every_write_of_every_run`
#[test]
#[ignore = "takes a minute"]
fn every_write_of_every_run_fails_at_first() {
    writes_fail_at_first(1);
}

/// One in so many of all pairs of run and effect.
fn writes_fail_at_first(every: usize) {
    for (n, run) in Run::ALL.into_iter().enumerate() {
        let (end, _) = run.undisturbed();
        let effects = FAILURES.iter().chain(&CRASHES[2..]);
        for (what, effect) in effects.skip(n % every).step_by(every) {
            let cluster = run.cluster();
            cluster.model.fault(every_second_write(*effect));
            run.complete(&cluster);
            assert_undisturbed(&cluster, end, &format!("{run:?}: {what} at every write"));
        }
    }
}

/// A pass and a preflight read dozens of objects, and begin anew when one read fails: as many reads
/// must go well between two that fail.
const READS_BETWEEN: usize = 61;
/// Reads that fail in a run: a proof of net zero needs more reads in a row than any distance
/// between two that fail for good.
const READS_FAILING: usize = 20;

#[test]
fn reads_and_watches_fail_again_and_again() {
    let effects: [(&str, MakeEffect); 3] = [
        ("500", || Effect::Refuse(internal())),
        ("reset", || Effect::LoseRequest),
        ("hang", || Effect::Hang),
    ];
    for (run, (what, effect)) in Run::ALL.into_iter().zip(effects) {
        let (end, _) = run.undisturbed();
        let cluster = run.cluster();
        let met = Mutex::new(0);
        let matches = move |call: &Call| {
            let mut met = met.lock().unwrap();
            *met += usize::from(["get", "list", "watch"].contains(&call.verb));
            (*met).is_multiple_of(READS_BETWEEN)
        };
        // The first read of all fails as well.
        cluster.model.fault(Fault::once(|_| true, effect()));
        let reads = Fault::times(
            READS_FAILING,
            move |call| call.write.is_none() && matches(call),
            effect,
        );
        cluster.model.fault(reads);
        run.complete(&cluster);
        assert_undisturbed(&cluster, end, &format!("{run:?}: {what} at reads"));
    }
}

/// Two operators without leader election between them: a replica too many, or one whose node was
/// lost and came back.
#[test]
fn two_operators_do_what_one_does() {
    for run in Run::ALL {
        let (end, _) = run.undisturbed();
        let cluster = run.cluster();
        cluster.operate_all(2, run.walk(&cluster));
        assert_undisturbed(&cluster, end, &format!("{run:?}: two operators"));
    }
}

/// One fault a run: one in so many of all pairs of write and effect.
fn one_fault_a_run(effects: &[(&str, MakeEffect)], every: usize) {
    for run in Run::ALL {
        let (end, writes) = run.undisturbed();
        let all = (1..=*writes).flat_map(|n| effects.iter().map(move |effect| (n, effect)));
        for (n, (what, effect)) in all.step_by(every) {
            let cluster = run.cluster();
            cluster.model.fault(Fault::once(write(n), effect()));
            run.complete(&cluster);
            let what = format!("{run:?}: write {n}: {what}");
            assert_undisturbed(&cluster, end, &what);
        }
    }
}

/// A sample of [`one_crash_at_each_write`].
#[test]
fn one_crash_at_some_writes() {
    one_fault_a_run(&CRASHES, 40);
}

/// Crash before and after, and a lost answer, at every write of the three runs: some 600 runs.
///
/// `cargo test -p dryrun-controller --test operator -- --ignored one_crash_at_each_write`
#[test]
#[ignore = "takes minutes: one run for every write and crash"]
fn one_crash_at_each_write() {
    one_fault_a_run(&CRASHES, 1);
}

/// Every other fault at every write of the three runs: some 1,600 runs.
///
/// `cargo test -p dryrun-controller --test operator -- --ignored one_failure_at_each_write`
#[test]
#[ignore = "takes minutes: one run for every write and failure"]
fn one_failure_at_each_write() {
    one_fault_a_run(&FAILURES, 1);
}
