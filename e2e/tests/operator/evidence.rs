//! A run's evidence: complete, free of secrets, verifiable without the cluster, and deleted after
//! its retention.

use std::{collections::BTreeMap, io::Read};

use anyhow::{Context, Result, ensure};
use dryrun_core::{
    api::{DryRunReport, KeptEvidence},
    commands::Command,
    digest, plan,
    run::id,
};
use k8s_openapi::{ByteString, api::core::v1::ConfigMap};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    environment::{Environment, NAMESPACE, eventually, steps},
    run::Run,
};

/// A file's path in the archive, and its content.
type Files = BTreeMap<String, Vec<u8>>;

/// Reads the archive as a user would: concatenates its parts, checks it against the report, unpacks
/// it, and checks the files against the manifest.
pub(crate) async fn read(env: &Environment, kept: &KeptEvidence) -> Result<Files> {
    let maps: Api<ConfigMap> = Api::namespaced(env.client.clone(), NAMESPACE);
    let mut archive = Vec::new();
    for name in &kept.config_maps {
        let map = maps.get(name).await?;
        ensure!(map.immutable == Some(true), "{name} can be changed");
        let ByteString(part) = map
            .binary_data
            .and_then(|mut data| data.remove("archive"))
            .with_context(|| format!("{name} has no part of the archive"))?;
        archive.extend(part);
    }
    ensure!(
        digest::prefixed(&Sha256::digest(&archive)) == kept.archive,
        "the archive is not the one that the report names"
    );
    let tar = zstd::decode_all(&*archive).context("decompressing the archive")?;
    let mut files = Files::new();
    for entry in tar::Archive::new(&*tar).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        files.insert(path, content);
    }
    let manifest = files
        .remove("MANIFEST.sha256")
        .context("there is no manifest")?;
    ensure!(
        digest::prefixed(&Sha256::digest(&manifest)) == kept.manifest,
        "the manifest is not the one that the report names"
    );
    let lines: BTreeMap<String, String> = String::from_utf8(manifest)?
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(digest, path)| (path.to_owned(), digest.to_owned()))
        .collect();
    let found: BTreeMap<String, String> = files
        .iter()
        .map(|(path, content)| (path.clone(), digest::hex(&Sha256::digest(content))))
        .collect();
    ensure!(
        lines == found,
        "the manifest says {lines:?}, there is {found:?}"
    );
    Ok(files)
}

/// The evidence of a run that has ended.
pub(crate) async fn kept(run: &Run<'_>) -> Result<KeptEvidence> {
    let report = run.report().await?.status.unwrap_or_default();
    report.evidence.context("nothing is kept")
}

/// Archive and report contain everything: plan with its hash, approval, gates, facts, logs.
pub(crate) async fn is_verifiable_without_the_cluster(env: &Environment) -> Result<()> {
    let mut request = env.small("stands-alone");
    request["spec"]["verification"]["trace"] = json!(true);
    request["spec"]["harness"]["scenarios"] = json!([
        steps("reads", "SELECT FROM item LIMIT 1"),
        {"name": "speaks", "as": {"login": "keeper"}, "command": ["python", "-c", "print('a line of output')"], "expect": {"noSession": true}},
    ]);
    let run = Run::start(env, request).await?;
    run.end().await?;
    let report = run.report().await?;
    ensure!(
        plan::hash(&report.spec.plan)? == report.spec.plan_hash,
        "the report's plan does not have the approved hash"
    );
    let kept = kept(&run).await?;
    ensure!(!kept.partial, "the evidence is partial");
    let files = read(env, &kept).await?;
    let text = |path: &str| {
        let content = files.get(path).with_context(|| format!("no {path}"))?;
        Ok::<_, anyhow::Error>(String::from_utf8_lossy(content).into_owned())
    };
    for (path, expected) in [
        ("plan.json", "\"systemIdentifier\""),
        ("approval.json", "\"approvedBy\": \"bob\""),
        ("gates.json", "\"G-16\""),
        ("facts.json", "\"archive\""),
        ("harness/speaks.log", "a line of output"),
        ("trace/statements.jsonl", "SELECT FROM item LIMIT 1"),
    ] {
        ensure!(text(path)?.contains(expected), "{path} lacks {expected}");
    }
    text("server/server.jsonl")?;
    let status = report.status.unwrap_or_default();
    let commands: Vec<&str> = status.commands.iter().map(|c| &*c.command).collect();
    ensure!(
        commands.first() == Some(&"C-01") && commands.last() == Some(&"C-13"),
        "times of {commands:?} alone"
    );
    Ok(())
}

/// A scenario prints its own password in base64: the gate names the file, and the archive has the
/// password removed.
pub(crate) async fn printed_secret_is_found_and_removed(env: &Environment) -> Result<()> {
    let mut request = env.small("printed-secret");
    let code = "import base64, os; print(base64.b64encode(open(os.environ['PGPASSFILE'], 'rb').read()).decode())";
    request["spec"]["harness"]["scenarios"] = json!([
        {"name": "prints", "as": {"login": "keeper"}, "command": ["python", "-c", code], "expect": {"noSession": true}},
    ]);
    let run = Run::start(env, request).await?;
    run.ends_at(
        "G-22",
        "CredentialFound",
        &["scenario-0", "base64", "harness/prints.log"],
        Command::Verify,
    )
    .await?;
    let kept = kept(&run).await?;
    ensure!(kept.partial, "the evidence of a run that failed is partial");
    let files = read(env, &kept).await?;
    let log = String::from_utf8_lossy(&files["harness/prints.log"]).into_owned();
    ensure!(log.contains("[redacted scenario-0]"), "the log is {log:?}");
    Ok(())
}

/// A scenario overwrites the output of an earlier one.
pub(crate) async fn rewritten_log_is_detected(env: &Environment) -> Result<()> {
    let mut request = env.small("rewritten-log");
    let code = |text: &str| json!(["python", "-c", text]);
    request["spec"]["harness"]["scenarios"] = json!([
        {"name": "says", "as": {"login": "keeper"}, "command": code("print('as it was')"), "expect": {"noSession": true}},
        {"name": "rewrites", "as": {"login": "keeper"}, "command": code("open('/evidence/harness/says.log', 'w').write('as it was not')"), "expect": {"noSession": true}},
    ]);
    let run = Run::start(env, request).await?;
    run.ends_at(
        "G-23",
        "LogChanged",
        &["harness/says.log"],
        Command::Evidence,
    )
    .await?;
    let files = read(env, &kept(&run).await?).await?;
    ensure!(
        files.contains_key("harness/rewrites.log") && !files.contains_key("harness/says.log"),
        "there are {:?}",
        files.keys()
    );
    Ok(())
}

/// The input's ConfigMap is replaced while the scenarios run.
pub(crate) async fn replaced_input_is_detected(env: &Environment) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(env.client.clone(), NAMESPACE);
    let (name, text) = ("swapped", "print('as declared')");
    let map =
        serde_json::from_value(json!({"metadata": {"name": name}, "data": {"script.py": text}}))?;
    maps.create(&PostParams::default(), &map).await?;
    let mut request = env.small("swapped-config-map");
    request["spec"]["harness"]["inputs"] = json!([{
        "configMapRef": {"name": name, "key": "script.py"}, "mountPath": "/scripts",
        "sha256": digest::hex(&Sha256::digest(text)),
    }]);
    request["spec"]["harness"]["scenarios"] = json!([steps("waits", "SELECT pg_sleep(20)")]);
    let run = Run::start(env, request).await?;
    run.at(Command::Scenarios).await?;
    let other = json!({"data": {"script.py": "print('something else')"}});
    maps.patch(name, &PatchParams::default(), &Patch::Merge(&other))
        .await?;
    run.ends_at(
        "G-20",
        "ConfigMapChanged",
        &["swapped/script.py"],
        Command::Verify,
    )
    .await
}

/// Report and evidence are deleted after `evidence.retain`; all other objects stay.
pub(crate) async fn is_deleted_after_retention(env: &Environment) -> Result<()> {
    let mut request = env.small("expires");
    request["spec"]["evidence"] = json!({"retain": "30s"});
    let run = Run::start(env, request).await?;
    run.end().await?;
    let parts = kept(&run).await?.config_maps;
    let reports: Api<DryRunReport> = Api::namespaced(env.client.clone(), NAMESPACE);
    let maps: Api<ConfigMap> = Api::namespaced(env.client.clone(), NAMESPACE);
    eventually("report and evidence are gone", async || {
        let report = reports.get_opt(&id::report(&run.name, &run.uid)).await?;
        if report.is_some() {
            return Ok(Err("the report still exists".to_owned()));
        }
        for part in &parts {
            if maps.get_opt(part).await?.is_some() {
                return Ok(Err(format!("{part} still exists")));
            }
        }
        Ok(Ok(()))
    })
    .await?;
    ensure!(
        run.api().get_opt(&run.name).await?.is_some(),
        "the DryRun went with its report"
    );
    Ok(())
}
