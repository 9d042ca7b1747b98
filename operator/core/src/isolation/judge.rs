//! Judgement of probes: do they prove isolation?.
//!
//! Three-valued: one connection where none may be breaks it for good; blocked counts only between
//! two positive controls, which reached the same target from a pod that may reach it; all else is
//! inconclusive. Nothing is inferred from NetworkPolicy objects or from the plugin's name: the API
//! has no way to ask whether a policy is in force (KEP-2943 was withdrawn).

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{Isolation, OwnNode, TargetClass};
use crate::isolation::target::{Tally, Target};
use crate::run::facts::Probe;
use crate::run::object::RunPod;

/// Classes that the copy's pod, the harness and the intruder try to reach.
pub const FORBIDDEN: [TargetClass; 7] = [
    TargetClass::Production,
    TargetClass::ApiServer,
    TargetClass::Dns,
    TargetClass::OtherNamespace,
    TargetClass::OwnNode,
    TargetClass::Metadata,
    TargetClass::Outside,
];

/// Result of the probes of a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Each was blocked, or there is nothing to be reached.
    Isolated(Summary),
    /// These connected: the pods, by the target that they reached.
    Breached(BTreeMap<Target, BTreeSet<RunPod>>),
    /// These are not known to be blocked.
    Unproven(Vec<Unproven>),
}

/// A probe that proves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unproven {
    /// [`NO_CONTROL`] or [`NOT_TRIED`].
    pub reason: &'static str,
    /// Target and pod of the attempt.
    pub what: String,
}

/// Reason of a probe without a positive control.
pub const NO_CONTROL: &str = "NoPositiveControl";
/// Reason of a probe that failed by itself, or was never made.
pub const NOT_TRIED: &str = "ProbeFailed";

/// Probes in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Attempts that were blocked.
    pub blocked: u64,
    /// Classes in which no target answers: silent in both controls, too.
    pub absent: BTreeSet<TargetClass>,
    /// Classes that the spec lets stay without a positive control.
    pub excused: BTreeSet<TargetClass>,
    /// Classes at the pods' own node that were silent, without a positive control that says why.
    pub own_node_open: BTreeSet<TargetClass>,
    /// Targets that answered at the pods' own node.
    pub own_node: BTreeSet<String>,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} attempts blocked", self.blocked)?;
        let list = |classes: &BTreeSet<TargetClass>| {
            let words: Vec<&str> = classes.iter().map(|class| class.as_str()).collect();
            words.join(", ")
        };
        if !self.absent.is_empty() {
            write!(f, "; absent: {}", list(&self.absent))?;
        }
        if !self.excused.is_empty() {
            write!(f, "; without control: {}", list(&self.excused))?;
        }
        if !self.own_node_open.is_empty() {
            let classes = list(&self.own_node_open);
            write!(f, "; own node, without control: {classes}")?;
        }
        if !self.own_node.is_empty() {
            let answers: Vec<&str> = self.own_node.iter().map(String::as_str).collect();
            write!(f, "; own node answers: {}", answers.join(", "))?;
        }
        Ok(())
    }
}

/// Returns true if a connection to the target is reported and breaks nothing: it lives on the
/// prober's own node, which the spec does not deny.
pub fn is_excused(policy: &Isolation, target: &Target) -> bool {
    let own_node = target.class == TargetClass::OwnNode || target.on_own_node;
    own_node && policy.own_node == OwnNode::Report
}

/// Judges probes that lie between these controls. `demanded` are the pods and classes that must
/// have been tried.
pub fn judge(
    policy: &Isolation,
    probes: &[&Probe],
    controls: [&[Probe]; 2],
    demanded: &[(RunPod, &[TargetClass])],
) -> Judgement {
    let mut breaches = BTreeMap::<Target, BTreeSet<RunPod>>::new();
    let mut unproven = Vec::new();
    let mut summary = Summary::default();
    for probe in probes {
        let class = probe.target.class;
        let excused = policy.may_be_inconclusive.contains(&class);
        let reported = is_excused(policy, &probe.target);
        if probe.tally.connected > 0 {
            if reported {
                summary.own_node.insert(place(&probe.target));
            } else {
                let target = probe.target.clone();
                breaches.entry(target).or_default().insert(probe.from);
            }
            continue;
        }
        let failed = is_blind(&probe.tally);
        if failed && !excused {
            unproven.push(Unproven {
                reason: NOT_TRIED,
                what: format!("{} to {}", probe.from.role(), name(&probe.target)),
            });
            continue;
        }
        let proven = match control(&probe.target, controls) {
            Control::Reached => !failed,
            Control::Absent if may_be_absent(class) => {
                summary.absent.insert(class);
                continue;
            }
            Control::Absent | Control::None => false,
        };
        if proven {
            summary.blocked += tried(&probe.tally);
        } else if excused {
            summary.excused.insert(class);
        } else if reported {
            summary.own_node_open.insert(class);
        } else {
            unproven.push(Unproven {
                reason: NO_CONTROL,
                what: format!("{} to {}", probe.from.role(), name(&probe.target)),
            });
        }
    }
    for (from, classes) in demanded {
        for class in *classes {
            let tried = probes
                .iter()
                .any(|probe| probe.from == *from && probe.target.class == *class);
            if !tried && !policy.may_be_inconclusive.contains(class) {
                unproven.push(Unproven {
                    reason: NOT_TRIED,
                    what: format!("{} to {}", from.role(), class.as_str()),
                });
            }
        }
    }
    if !breaches.is_empty() {
        Judgement::Breached(breaches)
    } else if unproven.is_empty() {
        Judgement::Isolated(summary)
    } else {
        Judgement::Unproven(unproven)
    }
}

/// Attempts that say something.
fn tried(tally: &Tally) -> u64 {
    tally.attempts.saturating_sub(tally.failed)
}

/// Returns true if too few attempts got an answer to say anything: a process that shares a pod with
/// the prober can make most of them fail, and connect meanwhile.
fn is_blind(tally: &Tally) -> bool {
    let tried = tried(tally);
    tried == 0 || tally.failed > tried
}

/// Returns true for classes that a cluster may lack. The run's own listeners, production and a
/// configured outside address exist.
fn may_be_absent(class: TargetClass) -> bool {
    match class {
        TargetClass::ApiServer
        | TargetClass::Dns
        | TargetClass::OwnNode
        | TargetClass::RemoteNode
        | TargetClass::Metadata => true,
        TargetClass::Production
        | TargetClass::OtherNamespace
        | TargetClass::Outside
        | TargetClass::Copy
        | TargetClass::CopyOtherPort => false,
    }
}

/// Result of the positive controls of a target.
enum Control {
    /// Both reached it.
    Reached,
    /// Both tried, and neither got an answer.
    Absent,
    /// One is missing, failed, or says otherwise than the other.
    None,
}

fn control(target: &Target, controls: [&[Probe]; 2]) -> Control {
    let tallies = controls.map(|controls| {
        let mut sum: Option<Tally> = None;
        // Only the address counts: a pod elsewhere may have that on its own node.
        let same = |probe: &&Probe| {
            let (a, b) = (&probe.target, target);
            (a.class, &a.address, a.port, a.protocol) == (b.class, &b.address, b.port, b.protocol)
        };
        for probe in controls.iter().filter(same) {
            sum.get_or_insert_default().add(&probe.tally);
        }
        sum
    });
    let [Some(before), Some(after)] = tallies else {
        return Control::None;
    };
    let silent = |tally: &Tally| tally.connected == 0 && tally.failed == 0 && tally.attempts > 0;
    if before.answered > 0 && after.answered > 0 {
        Control::Reached
    } else if silent(&before) && silent(&after) {
        Control::Absent
    } else {
        Control::None
    }
}

/// Returns one sentence that names the pods and the targets that they reached; classes that the
/// same pods reached stand together, and a single target has its address.
pub fn sentence(breaches: &BTreeMap<Target, BTreeSet<RunPod>>) -> String {
    let mut groups = BTreeMap::<&BTreeSet<RunPod>, Vec<&Target>>::new();
    for (target, pods) in breaches {
        groups.entry(pods).or_default().push(target);
    }
    let said = groups.into_iter().map(|(pods, targets)| {
        let pods: Vec<&str> = pods.iter().map(|pod| pod.role()).collect();
        let targets = match &*targets {
            [one] => name(one),
            many => {
                let mut classes: Vec<&str> = many.iter().map(|t| t.class.as_str()).collect();
                classes.dedup();
                classes.join(", ")
            }
        };
        format!("{} reached {targets}", pods.join(" and "))
    });
    said.collect::<Vec<_>>().join("; ")
}

fn place(target: &Target) -> String {
    let address = if target.address.contains(':') {
        format!("[{}]", target.address)
    } else {
        target.address.clone()
    };
    format!("{address}:{}/{}", target.port, target.protocol.as_str())
}

fn name(target: &Target) -> String {
    format!("{} {}", target.class.as_str(), place(target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolation::target::{Greeting, Protocol};

    fn target(class: TargetClass) -> Target {
        Target {
            class,
            address: "192.0.2.7".into(),
            port: 80,
            protocol: Protocol::Tcp,
            greeting: Greeting::Nothing,
            on_own_node: false,
        }
    }

    fn probe(from: RunPod, class: TargetClass, connected: u64) -> Probe {
        Probe {
            from,
            target: target(class),
            tally: Tally {
                attempts: 2,
                connected,
                answered: connected,
                silent: 2 - connected,
                ..Tally::default()
            },
        }
    }

    /// Judges one probe of the class, of which so many attempts connected, between controls of
    /// which so many did.
    fn judged(
        policy: &Isolation,
        class: TargetClass,
        connected: u64,
        controls: [Option<u64>; 2],
    ) -> Judgement {
        let probe_ = probe(RunPod::Postgres, class, connected);
        let [before, after] = controls.map(|connected| {
            let controls = connected.map(|connected| probe(RunPod::Canary, class, connected));
            controls.into_iter().collect::<Vec<_>>()
        });
        judge(policy, &[&probe_], [&before, &after], &[])
    }

    #[test]
    fn blocked_counts_between_two_positive_controls_alone() {
        use TargetClass::{Metadata, OtherNamespace, Outside};
        let policy = Isolation::default();
        let isolated = |judgement| matches!(judgement, Judgement::Isolated(_));
        let no_control = |judgement| match judgement {
            Judgement::Unproven(unproven) => unproven[0].reason == NO_CONTROL,
            _ => false,
        };
        assert!(isolated(judged(&policy, Outside, 0, [Some(2), Some(1)])));
        for controls in [
            [Some(2), Some(0)],
            [Some(0), Some(2)],
            [None, Some(2)],
            [Some(2), None],
            [None, None],
        ] {
            for class in [Outside, Metadata, OtherNamespace] {
                assert!(
                    no_control(judged(&policy, class, 0, controls)),
                    "{controls:?}"
                );
            }
        }
        // Silent in both: what a cluster need not have is absent, what must be there is not proven.
        let silent = [Some(0), Some(0)];
        match judged(&policy, Metadata, 0, silent) {
            Judgement::Isolated(summary) => assert_eq!(summary.absent, [Metadata].into()),
            other => panic!("{other:?}"),
        }
        for class in [
            Outside,
            OtherNamespace,
            TargetClass::Production,
            TargetClass::Copy,
        ] {
            assert!(no_control(judged(&policy, class, 0, silent)), "{class:?}");
        }
    }

    #[test]
    fn what_may_be_inconclusive_is_named() {
        let policy = Isolation {
            may_be_inconclusive: vec![TargetClass::Outside],
            ..Isolation::default()
        };
        for controls in [[Some(0), Some(0)], [None, None], [Some(2), Some(0)]] {
            match judged(&policy, TargetClass::Outside, 0, controls) {
                Judgement::Isolated(summary) => {
                    assert_eq!(summary.excused, [TargetClass::Outside].into());
                    assert_eq!(summary.blocked, 0);
                }
                other => panic!("{other:?}"),
            }
        }
        // It excuses the control, never a connection.
        let breached = judged(&policy, TargetClass::Outside, 1, [None, None]);
        assert!(matches!(breached, Judgement::Breached(_)));
    }

    #[test]
    fn one_connection_breaks_it_whatever_the_controls_say() {
        for class in FORBIDDEN.into_iter().filter(|c| *c != TargetClass::OwnNode) {
            for controls in [[Some(2), Some(2)], [Some(0), Some(0)], [None, None]] {
                let judgement = judged(&Isolation::default(), class, 1, controls);
                let Judgement::Breached(breaches) = judgement else {
                    panic!("{class:?}: {judgement:?}");
                };
                let said = format!("postgres reached {} 192.0.2.7:80/TCP", class.as_str());
                assert_eq!(sentence(&breaches), said);
            }
        }
    }

    #[test]
    fn the_own_node_is_reported_or_denied() {
        let controls = [Some(2), Some(2)];
        let own_node = TargetClass::OwnNode;
        let mut policy = Isolation::default();
        match judged(&policy, own_node, 1, controls) {
            Judgement::Isolated(summary) => {
                assert!(
                    summary
                        .to_string()
                        .contains("own node answers: 192.0.2.7:80/TCP")
                );
            }
            other => panic!("{other:?}"),
        }
        policy.own_node = OwnNode::Deny;
        let breached = judged(&policy, own_node, 1, controls);
        assert!(matches!(breached, Judgement::Breached(_)));
        // What lives there counts as the node.
        let mut probe_ = probe(RunPod::Postgres, TargetClass::ApiServer, 1);
        probe_.target.on_own_node = true;
        let judge = |policy: &Isolation| judge(policy, &[&probe_], [&[], &[]], &[]);
        assert!(matches!(judge(&policy), Judgement::Breached(_)));
        policy.own_node = OwnNode::Report;
        assert!(matches!(judge(&policy), Judgement::Isolated(_)));
    }

    #[test]
    fn a_probe_that_failed_or_was_not_made_proves_nothing() {
        let policy = Isolation::default();
        let control = [probe(RunPod::Canary, TargetClass::Dns, 2)];
        let mut failed = probe(RunPod::Postgres, TargetClass::Dns, 0);
        (failed.tally.failed, failed.tally.silent) = (2, 0);
        let demanded = [(RunPod::Postgres, &[TargetClass::Dns][..])];
        for probes in [vec![&failed], vec![]] {
            match judge(&policy, &probes, [&control, &control], &demanded) {
                Judgement::Unproven(unproven) => assert_eq!(unproven[0].reason, NOT_TRIED),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_prober_that_mostly_failed_was_blinded() {
        let control = [probe(RunPod::Canary, TargetClass::Dns, 2)];
        let judged = |failed| {
            let mut probe = probe(RunPod::Harness, TargetClass::Dns, 0);
            (probe.tally.attempts, probe.tally.failed) = (10, failed);
            judge(&Isolation::default(), &[&probe], [&control, &control], &[])
        };
        match judged(5) {
            Judgement::Isolated(summary) => assert_eq!(summary.blocked, 5),
            other => panic!("{other:?}"),
        }
        match judged(6) {
            Judgement::Unproven(unproven) => assert_eq!(unproven[0].reason, NOT_TRIED),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_silent_own_node_is_absent_only_if_the_controls_say_so() {
        let own_node = TargetClass::OwnNode;
        let said = |controls| match judged(&Isolation::default(), own_node, 0, controls) {
            Judgement::Isolated(summary) => summary.to_string(),
            other => panic!("{other:?}"),
        };
        let absent = "0 attempts blocked; absent: OwnNode";
        assert_eq!(said([Some(0), Some(0)]), absent);
        for controls in [[None, Some(0)], [Some(2), Some(0)], [None, None]] {
            let open = "0 attempts blocked; own node, without control: OwnNode";
            assert_eq!(said(controls), open, "{controls:?}");
        }
    }

    #[test]
    fn who_reached_what_is_one_sentence() {
        let mut breaches = BTreeMap::new();
        let pods = |pods: &[RunPod]| pods.iter().copied().collect();
        breaches.insert(
            target(TargetClass::ApiServer),
            pods(&[RunPod::Postgres, RunPod::Intruder]),
        );
        breaches.insert(
            target(TargetClass::Dns),
            pods(&[RunPod::Postgres, RunPod::Intruder]),
        );
        breaches.insert(target(TargetClass::Copy), pods(&[RunPod::Canary]));
        assert_eq!(
            sentence(&breaches),
            "postgres and intruder reached ApiServer, Dns; canary reached Copy 192.0.2.7:80/TCP"
        );
    }
}
