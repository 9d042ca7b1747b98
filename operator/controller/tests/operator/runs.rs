//! Whole runs through the real reconcile loop.

use crate::cluster::Cluster;

#[test]
fn a_run_passes_all_gates_and_leaves_nothing() {
    let cluster = Cluster::new();
    let status = cluster.complete();
    cluster.assert_passed(&status, "undisturbed");
}
