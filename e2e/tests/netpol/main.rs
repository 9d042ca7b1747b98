//! NetworkPolicy from the pods' point of view: the truth table, the first second of a pod, the
//! delay of a policy, and established connections that it forbids. Run with `--nocapture` to see
//! the table and the figures.

mod bench;
mod pods;
mod table;

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::networking::v1::NetworkPolicySpec;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::sync::Mutex;
use tokio::time::timeout;

use bench::{Bench, DEADLINE, Place};

/// Tests run one at a time, because they measure.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Maximum delay until a policy takes effect or ends: an idle machine shows tens of milliseconds.
const EFFECT: Duration = Duration::from_millis(500);

fn deny_all() -> Result<NetworkPolicySpec> {
    Ok(serde_json::from_value(
        json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}),
    )?)
}

#[tokio::test]
async fn policies_match_the_truth_table() -> Result<()> {
    let _alone = ALONE.lock().await;
    let bench = Bench::new().await?;
    bench.populate().await?;
    let addresses = bench.addresses().await?;
    let (mut right, mut wrong) = (0, Vec::new());
    for scene in table::scenes(&bench, &addresses)? {
        let (ok, not_ok) = scene.check(&bench, &addresses).await?;
        right += ok;
        if not_ok > 0 {
            wrong.push(scene.name);
        }
    }
    println!("\n{right} as expected; wrong: {wrong:?}");
    ensure!(wrong.is_empty(), "not as expected: {wrong:?}");
    bench.remove().await
}

/// A pod under deny-all that connects from its first instruction never succeeds, on the same node
/// or across nodes; without a policy it succeeds at once. The node's probes reach a pod under
/// deny-all.
#[tokio::test]
async fn deny_all_holds_from_the_first_instruction() -> Result<()> {
    let _alone = ALONE.lock().await;
    let bench = Bench::new().await?;
    let server = bench
        .serve(&bench.a, "server".to_owned(), "server", Place::Near)
        .await?;
    bench.set_policies(&bench.b, &[deny_all()?]).await?;
    let target = format!("tcp/{server}:8080");
    // More attempts than asserted below.
    let watch = ["watch", &target, "--for-ms", "1000", "--tries", "200"];
    for place in Place::ALL {
        let [attempts, open] = bench
            .run(&bench.a, &place.pod("free"), place, &watch)
            .await?;
        println!("{place:?}, no policy: {open} of {attempts} attempts got through");
        ensure!(open > 100, "the positive control got through {open} times");
        for round in 0..5 {
            let [attempts, open] = bench
                .run(
                    &bench.b,
                    &place.pod(&format!("early-{round}")),
                    place,
                    &watch,
                )
                .await?;
            println!("{place:?}, deny-all, pod {round}: {open} of {attempts} attempts got through");
            ensure!(attempts > 100, "{attempts} attempts prove nothing");
            ensure!(open == 0, "{open} attempts got through");
        }
        bench
            .serve(&bench.b, place.pod("probed"), "probed", place)
            .await?;
    }
    bench.remove().await
}

/// A pod under deny-all that sends as fast as it can never succeeds while other policies are added
/// and removed.
#[tokio::test]
async fn no_packet_passes_while_tables_are_replaced() -> Result<()> {
    let _alone = ALONE.lock().await;
    let bench = Bench::new().await?;
    let server = bench
        .serve(&bench.a, "server".to_owned(), "server", Place::Near)
        .await?;
    bench.set_policies(&bench.b, &[deny_all()?]).await?;
    let target = format!("udp/{server}:7000");
    let [_, echoed] = bench
        .run(
            &bench.a,
            "free",
            Place::Near,
            &["flood", &target, "--for-ms", "200", "--answers", "200"],
        )
        .await?;
    ensure!(echoed > 100, "the positive control got {echoed} answers");

    let more = serde_json::from_value(
        json!({"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "192.0.2.77/32"}}]}]}),
    )?;
    for place in Place::ALL {
        let changes = Cell::new(0);
        let change = async {
            loop {
                bench.add_policy(&bench.b, "more", &more).await?;
                bench.remove_policy(&bench.b, "more").await?;
                changes.set(changes.get() + 2);
            }
        };
        let flood = async {
            let (mut sent, mut echoed) = (0, 0);
            // On a busy machine it may take several floods until there are enough packets.
            for round in 0..10 {
                let name = place.pod(&format!("flood-{round}"));
                let flood = ["flood", &target, "--for-ms", "3000"];
                let [more_sent, more_echoed] = bench.run(&bench.b, &name, place, &flood).await?;
                (sent, echoed) = (sent + more_sent, echoed + more_echoed);
                if sent > 10_000 && changes.get() > 20 {
                    return Ok((sent, echoed));
                }
            }
            bail!(
                "{sent} datagrams in {} changes prove nothing",
                changes.get()
            )
        };
        let (sent, echoed) = tokio::select! {
            counts = flood => counts?,
            failed = change => return failed,
        };
        println!(
            "{place:?}: {echoed} of {sent} datagrams got through in {} changes of policies",
            changes.get()
        );
        ensure!(echoed == 0, "{echoed} datagrams got through");
        // The previous change may be half done.
        bench.set_policies(&bench.b, &[deny_all()?]).await?;
    }
    bench.remove().await
}

/// Measures the time from the API server's answer to the first connection with the opposite result,
/// in a pod that connects continuously. A busy machine delays some changes, but not half of them,
/// and not in every round.
#[tokio::test]
async fn policies_take_effect_within_half_a_second() -> Result<()> {
    let _alone = ALONE.lock().await;
    let bench = Bench::new().await?;
    let server = bench.populate().await?;
    for place in Place::ALL {
        let mut medians = Vec::new();
        while medians.iter().all(|median| *median > EFFECT) {
            ensure!(medians.len() < 5, "the medians are {medians:?}");
            let mut effects = effects(&bench, &server, place).await?;
            effects.sort();
            let (median, most) = (effects[effects.len() / 2], effects[effects.len() * 9 / 10]);
            println!("{place:?}: median {median:?}, nine of ten within {most:?}");
            medians.push(median);
        }
    }
    bench.remove().await
}

/// Delays until a client at this location sees the server's policies take effect and end.
async fn effects(bench: &Bench, server: &str, place: Place) -> Result<Vec<Duration>> {
    let ingress: NetworkPolicySpec = serde_json::from_value(
        json!({"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"]}),
    )?;
    let target = format!("tcp/{server}:8080");
    let watch = ["watch", &target, "--for-ms", "60000"];
    let mut process = bench.spawn(&bench.a, &place.pod("client"), &watch).await?;
    let mut lines = BufReader::new(process.stdout().context("no output")?).lines();
    until(&mut lines, "open").await?;
    let started = Instant::now();
    let mut effects = Vec::new();
    // At least one round, and none after the watch has ended.
    while effects.len() < 20 && started.elapsed() < Duration::from_secs(30) {
        for (policies, expected) in [
            (std::slice::from_ref(&ingress), "refused"),
            (&[][..], "open"),
        ] {
            bench.set_policies(&bench.a, policies).await?;
            let answered = Instant::now();
            until(&mut lines, expected).await?;
            effects.push(answered.elapsed());
        }
    }
    process.abort();
    Ok(effects)
}

/// An established connection that a new policy forbids is reset, at either end of the policy.
#[tokio::test]
async fn forbidden_connections_are_reset() -> Result<()> {
    let _alone = ALONE.lock().await;
    let bench = Bench::new().await?;
    let target = format!("tcp/{}:8080", bench.populate().await?);
    for role in ["client", "server"] {
        let policy = serde_json::from_value(
            json!({"podSelector": {"matchLabels": {"app": role}}, "policyTypes": ["Ingress", "Egress"]}),
        )?;
        for place in Place::ALL {
            let client = place.pod("client");
            // The previous round's policy may still be active.
            let open = async {
                while !bench
                    .probe(&bench.a, &client, &["connect", &target])
                    .await?
                    .contains("open")
                {}
                anyhow::Ok(())
            };
            timeout(DEADLINE, open)
                .await
                .context("no way to the server")??;
            let mut process = bench.spawn(&bench.a, &client, &["hold", &target]).await?;
            let mut lines = BufReader::new(process.stdout().context("no output")?).lines();
            until(&mut lines, "open").await?;
            bench
                .set_policies(&bench.a, std::slice::from_ref(&policy))
                .await?;
            let cut = until(&mut lines, "cut").await?;
            println!("{place:?}, policy for the {role}: {cut}");
            ensure!(cut.contains("reset"), "{cut}");
            bench.set_policies(&bench.a, &[]).await?;
        }
    }
    bench.remove().await
}

/// Reads up to a line that contains `word`, and returns it.
async fn until(lines: &mut Lines<BufReader<impl AsyncRead + Unpin>>, word: &str) -> Result<String> {
    let line = async {
        loop {
            let line = lines
                .next_line()
                .await?
                .with_context(|| format!("the probe has ended without {word:?}"))?;
            if line.contains(word) {
                return anyhow::Ok(line);
            }
        }
    };
    timeout(DEADLINE, line)
        .await
        .with_context(|| format!("no {word:?}"))?
}
