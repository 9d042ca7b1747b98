//! G-01 DiskHeadroom.

use super::{Evidence, Gate, Verdict};
use crate::api::bytes_of;
use crate::commands::Command;

pub(super) static GATE: Gate = Gate {
    id: "G-01",
    name: "DiskHeadroom",
    doc: "The data volume had the declared free space, and room for a copy of the source, before a byte was dumped, and the declared free space at every moment of the restore and after it.",
    command: Command::Dump,
    evidence: &["/dump/disk"],
    needs: &[],
    reasons: &[
        (
            "InsufficientSpace",
            "Less is free than postgres.storage.minimumFree or than an estimate from the source's size.",
        ),
        (
            "InvalidQuantity",
            "postgres.storage.minimumFree is no size in bytes.",
        ),
    ],
    evaluate,
    #[cfg(test)]
    worlds,
};

fn evaluate(evidence: &Evidence<'_>) -> Verdict {
    let minimum = match bytes_of(&evidence.spec.postgres.storage.minimum_free) {
        Ok(bytes) => bytes,
        Err(error) => return Verdict::fail("InvalidQuantity", error.to_string()),
    };
    let Some(disk) = evidence
        .facts
        .dump
        .as_ref()
        .and_then(|dump| dump.disk.as_ref())
    else {
        return Verdict::pending();
    };
    let needed = disk.needed(minimum);
    if disk.free_bytes < needed {
        return Verdict::fail(
            "InsufficientSpace",
            format!(
                "{} MiB free, {} MiB needed before the dump",
                mib(disk.free_bytes),
                mib(needed)
            ),
        );
    }
    let before = format!(
        "{} MiB free before the dump, {} MiB needed",
        mib(disk.free_bytes),
        mib(needed)
    );
    let Some(restore) = &evidence.facts.restore else {
        return Verdict::pass(before);
    };
    let moments = [
        ("during", restore.claim.lowest_free_bytes),
        ("after", restore.claim.free_bytes),
    ];
    for (when, free) in moments {
        if free < minimum {
            let message = format!(
                "{} MiB free {when} the restore, {} MiB needed",
                mib(free),
                mib(minimum)
            );
            return Verdict::fail("InsufficientSpace", message);
        }
    }
    Verdict::pass(format!(
        "{before}; at least {} MiB during the restore",
        mib(restore.claim.lowest_free_bytes)
    ))
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

#[cfg(test)]
fn worlds() -> crate::test_support::Worlds {
    use crate::test_support::{World, Worlds};
    let small = |free: u64| {
        World::with(|f| f.dump.as_mut().unwrap().disk.as_mut().unwrap().free_bytes = free)
    };
    Worlds {
        fail: vec![
            ("InsufficientSpace", small(1 << 20)),
            (
                "InsufficientSpace",
                World::with(|f| {
                    f.dump.as_mut().unwrap().disk.as_mut().unwrap().source_bytes = 1 << 50
                }),
            ),
            (
                "InsufficientSpace",
                World::with(|f| f.restore.as_mut().unwrap().claim.free_bytes = 5),
            ),
            (
                "InsufficientSpace",
                World::with(|f| f.restore.as_mut().unwrap().claim.lowest_free_bytes = 5),
            ),
        ],
        unknown: vec![("Pending", World::empty())],
    }
}
