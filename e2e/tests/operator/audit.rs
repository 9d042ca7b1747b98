//! The operator's requests in the apiserver's audit log.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;

use dryrun_e2e::fixture::SYSTEM;

/// A write, or a connection to a pod.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    /// create, update, patch, delete; also get, which opens WebSocket connections.
    pub(crate) verb: String,
    /// `dryruns`, or `dryruns/status`.
    pub(crate) resource: String,
    /// Namespace of the object.
    pub(crate) namespace: String,
    /// Name of the object.
    pub(crate) name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    request_received_timestamp: Timestamp,
    verb: String,
    user: User,
    object_ref: Option<Object>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Object {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

/// Subresources that open connections: a WebSocket handshake is a GET.
const CONNECTIONS: [&str; 4] = ["exec", "attach", "portforward", "proxy"];

/// The complete lines of the log. The last one is skipped if the apiserver has not finished writing
/// it.
fn lines(log: &Path) -> Result<impl Iterator<Item = Result<String>>> {
    let mut log = BufReader::new(File::open(log).context("opening the audit log")?);
    Ok(std::iter::from_fn(move || {
        let mut line = Vec::new();
        let read = log.read_until(b'\n', &mut line);
        match read.context("reading the audit log") {
            Ok(_) if line.pop() != Some(b'\n') => None,
            read => Some(read.map(|_| String::from_utf8_lossy(&line).into_owned())),
        }
    }))
}

/// All requests of the operator since then, in order, except reads.
///
/// # Errors
/// The log cannot be read.
pub(crate) fn requests(log: &Path, since: Timestamp) -> Result<Vec<Write>> {
    let operator = format!("system:serviceaccount:{SYSTEM}:dryrun-operator");
    let mut requests = Vec::new();
    for line in lines(log)? {
        let line = line?;
        if !line.contains(&operator) {
            continue;
        }
        let event: Event = serde_json::from_str(&line).context("reading an audit event")?;
        let object = event.object_ref.unwrap_or_default();
        let read = ["get", "list", "watch"].contains(&event.verb.as_str());
        let connects = CONNECTIONS.contains(&object.subresource.as_str());
        // A long connection has one event when it opens and another when it closes.
        let relevant =
            event.stage == "ResponseComplete" || connects && event.stage == "ResponseStarted";
        if event.request_received_timestamp >= since
            && (!read || connects)
            && event.user.username == operator
            && relevant
        {
            let resource = match object.subresource.as_str() {
                "" => object.resource,
                part => format!("{}/{part}", object.resource),
            };
            requests.push(Write {
                verb: event.verb,
                resource,
                namespace: object.namespace,
                name: object.name,
            });
        }
    }
    Ok(requests)
}

/// All requests of the operator since then that write the DryRun `run`, its report or one of its
/// objects, in order, except events.
///
/// # Errors
/// The log cannot be read.
pub(crate) fn writes(
    log: &Path,
    namespace: &str,
    run: &str,
    since: Timestamp,
) -> Result<Vec<Write>> {
    let mut writes = requests(log, since)?;
    writes.retain(|write| {
        write.namespace == namespace
            && (write.name == run || write.name.starts_with(&format!("{run}-")))
            && write.resource != "events"
            && write.resource != "pods/portforward"
    });
    Ok(writes)
}

/// Number of port-forwards that the operator has opened to this pod since then.
///
/// # Errors
/// The log cannot be read.
pub(crate) fn forwards(log: &Path, namespace: &str, pod: &str, since: Timestamp) -> Result<usize> {
    let operator = format!("system:serviceaccount:{SYSTEM}:dryrun-operator");
    let mut forwards = 0;
    for line in lines(log)? {
        let line = line?;
        if !line.contains("portforward") || !line.contains(&operator) {
            continue;
        }
        let event: Event = serde_json::from_str(&line).context("reading an audit event")?;
        let object = event.object_ref.unwrap_or_default();
        let this = object.subresource == "portforward"
            && (object.namespace.as_str(), object.name.as_str()) == (namespace, pod);
        if this && event.request_received_timestamp >= since {
            forwards += 1;
        }
    }
    Ok(forwards)
}

/// Number of writes of each kind, for error messages.
pub(crate) fn summary(writes: &[Write]) -> String {
    let mut counts = BTreeMap::<_, usize>::new();
    for write in writes {
        *counts
            .entry(format!("{} {} {}", write.verb, write.resource, write.name))
            .or_default() += 1;
    }
    counts
        .iter()
        .map(|(what, n)| format!("{n}× {what}"))
        .collect::<Vec<_>>()
        .join(", ")
}
