//! Chained CNI plugin (CNI 1.0) that admits a pod sandbox once the rules for its address are in the
//! kernel.
//!
//! It comes last in the chain and changes nothing: it returns the previous plugin's result. Without
//! an agent it fails, so that no pod starts outside its policies; the kubelet retries.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use dryrun_netpol::sandbox::{Sandbox, admit};
use serde::Deserialize;
use serde_json::{Value, json};

/// The version of errors and of the VERSION reply.
const CNI_VERSION: &str = "1.0.0";

/// The versions that the configuration may request.
const SUPPORTED: [&str; 3] = ["0.3.1", "0.4.0", CNI_VERSION];

/// An error as defined by section 5 of the specification.
struct Failure {
    code: u32,
    message: &'static str,
    details: String,
}

impl Failure {
    fn incompatible_version(details: impl ToString) -> Self {
        Self {
            code: 1,
            message: "incompatible CNI version",
            details: details.to_string(),
        }
    }

    fn environment(details: impl ToString) -> Self {
        Self {
            code: 4,
            message: "invalid environment variable",
            details: details.to_string(),
        }
    }

    fn undecodable(error: impl ToString) -> Self {
        Self {
            code: 6,
            message: "cannot decode the configuration",
            details: error.to_string(),
        }
    }

    fn configuration(details: impl ToString) -> Self {
        Self {
            code: 7,
            message: "invalid network configuration",
            details: details.to_string(),
        }
    }

    /// "Try again later": a sandbox that is refused now may be admitted soon.
    fn not_admitted(error: impl ToString) -> Self {
        Self {
            code: 11,
            message: "the NetworkPolicy agent has not admitted the sandbox",
            details: error.to_string(),
        }
    }
}

/// The network configuration on standard input.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    cni_version: String,
    socket: PathBuf,
    #[serde(default)]
    prev_result: Option<Value>,
}

fn main() -> ExitCode {
    let (output, code) = match run() {
        Ok(None) => return ExitCode::SUCCESS,
        Ok(Some(result)) => (result, ExitCode::SUCCESS),
        Err(Failure {
            code,
            message,
            details,
        }) => (
            json!({"cniVersion": CNI_VERSION, "code": code, "msg": message, "details": details}),
            ExitCode::FAILURE,
        ),
    };
    match writeln!(io::stdout(), "{output}") {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Executes CNI_COMMAND and returns the output.
fn run() -> Result<Option<Value>, Failure> {
    let command = variable("CNI_COMMAND")?;
    match command.as_str() {
        "VERSION" => Ok(Some(
            json!({"cniVersion": CNI_VERSION, "supportedVersions": SUPPORTED}),
        )),
        "ADD" => await_rules().map(Some),
        // The check repeats the request: the agent replies once the rules are in the kernel, which
        // they still are unless they were removed.
        "CHECK" => await_rules().map(|_| None),
        // The rules are removed with the Pod object.
        "DEL" => Ok(None),
        other => Err(Failure::environment(format!("CNI_COMMAND={other}"))),
    }
}

/// Waits until the sandbox's rules are in force; returns the previous plugin's result.
fn await_rules() -> Result<Value, Failure> {
    let configuration: Configuration =
        serde_json::from_reader(io::stdin().lock()).map_err(Failure::undecodable)?;
    if !SUPPORTED.contains(&configuration.cni_version.as_str()) {
        return Err(Failure::incompatible_version(&configuration.cni_version));
    }
    let result = configuration
        .prev_result
        .ok_or_else(|| Failure::configuration("no prevResult: this plugin must be chained"))?;
    let sandbox = sandbox(&result)?;
    admit(&configuration.socket, &sandbox).map_err(Failure::not_admitted)?;
    Ok(result)
}

/// The sandbox named by the runtime.
fn sandbox(result: &Value) -> Result<Sandbox, Failure> {
    let arguments = variable("CNI_ARGS")?;
    let arguments: BTreeMap<_, _> = arguments
        .split(';')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    let argument = |name: &str| match arguments.get(name) {
        Some(value) => Ok((*value).to_owned()),
        None => Err(Failure::environment(format!("CNI_ARGS has no {name}"))),
    };
    let addresses = result["ips"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|ip| ip["address"].as_str());
    let mut addresses =
        addresses.filter_map(|address| address.split('/').next()?.parse::<Ipv4Addr>().ok());
    Ok(Sandbox {
        namespace: argument("K8S_POD_NAMESPACE")?,
        name: argument("K8S_POD_NAME")?,
        uid: argument("K8S_POD_UID")?,
        address: addresses
            .next()
            .ok_or_else(|| Failure::configuration("no IPv4 address in prevResult"))?,
    })
}

fn variable(name: &str) -> Result<String, Failure> {
    env::var(name).map_err(|error| Failure::environment(format!("{name}: {error}")))
}
