//! NetworkPolicy as pods see it: the truth table, the first second of a pod, how soon a policy is in force, and what becomes of
//! connections that it forbids. Run with `--nocapture` to see the table and the figures.

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

/// One test at a time: they measure.
static ALONE: Mutex<()> = Mutex::const_new(());

/// How soon a policy must be in force, and out of force again: an idle machine shows tens of milliseconds.
const EFFECT: Duration = Duration::from_millis(500);

fn deny_all() -> Result<NetworkPolicySpec> {
    Ok(serde_json::from_value(
        json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}),
    )?)
}

#[tokio::test]
async fn truth_table() -> Result<()> {
    let _alone = ALONE.lock().await;
    let bench = Bench::new().await?;
    bench.populate().await?;
    let addresses = bench.addresses().await?;
    let (mut right, mut wrong) = (0, Vec::new());
    for scene in table::scenes(&bench, &addresses)? {
        let (ok, not_ok) = scene.play(&bench, &addresses).await?;
        right += ok;
        if not_ok > 0 {
            wrong.push(scene.name);
        }
    }
    println!("\n{right} as expected; wrong: {wrong:?}");
    ensure!(wrong.is_empty(), "not as expected: {wrong:?}");
    bench.remove().await
}

/// A pod under deny-all that connects from its first instruction on never gets through, near and far; without a policy it does at once.
/// The node's probes reach a pod under deny-all all the same.
#[tokio::test]
async fn no_connection_in_the_first_second() -> Result<()> {
    let _alone = ALONE.lock().await;
    let bench = Bench::new().await?;
    let server = bench
        .serve(&bench.a, "server".to_owned(), "server", Place::Near)
        .await?;
    bench.set_policies(&bench.b, &[deny_all()?]).await?;
    let target = format!("tcp/{server}:8080");
    // More than are asked for below.
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

/// A pod under deny-all that sends as fast as it can gets nothing through while other policies come and go.
#[tokio::test]
async fn nothing_slips_through_while_tables_are_replaced() -> Result<()> {
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
            // On a busy machine it takes some floods until there is enough to prove anything.
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
        // The change may have been interrupted between its halves.
        bench.set_policies(&bench.b, &[deny_all()?]).await?;
    }
    bench.remove().await
}

/// From the API server's answer to the first connection that goes the other way, seen by a pod that connects all the time. A busy machine delays
/// one or the other, not the half of them; and where it does, not every time.
#[tokio::test]
async fn a_policy_is_soon_in_force() -> Result<()> {
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

/// How long policies of the server take until a client in this place sees them, in force and out of force again.
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
    // One round at least, and no more than the watch lasts.
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

/// A connection that a new policy forbids is reset, whichever of its ends the policy is for.
#[tokio::test]
async fn a_forbidden_connection_is_cut() -> Result<()> {
    let _alone = ALONE.lock().await;
    let bench = Bench::new().await?;
    let target = format!("tcp/{}:8080", bench.populate().await?);
    for role in ["client", "server"] {
        let policy = serde_json::from_value(
            json!({"podSelector": {"matchLabels": {"app": role}}, "policyTypes": ["Ingress", "Egress"]}),
        )?;
        for place in Place::ALL {
            let client = place.pod("client");
            // The policy of the round before may still be in force.
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

/// Reads until a line that says `word`, and returns it.
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
