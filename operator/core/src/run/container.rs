//! The containers that the operator speaks to or waits for.

use serde::{Deserialize, Serialize};

use super::layout::{OBSERVER_PORT, PORT};
use super::object::RunPod;

/// Name of the init container that brings the agent into a pod of another image.
pub const INSTALL: &str = "install";

/// A container of the run's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Container {
    /// Dumps production.
    Dump,
    /// The copy's init container, which waits to be released.
    Isolate,
    /// The copy's sidecar, which probes.
    CopyProbe,
    /// The copy's server.
    Server,
    /// Restores the dump.
    Restore,
    /// The harness's init container, which verifies the inputs and waits to be released.
    Inputs,
    /// The harness's sidecar, which looks at the inputs again, and probes.
    Observer,
    /// Runs the user's code.
    Harness,
    /// Searches and seals.
    Seal,
    /// Reads production's identity.
    Identity,
    /// The only container of the intruder.
    Intruder,
    /// The only container of the canary.
    Canary,
    /// The only container of the listener.
    Listener,
}

impl Container {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Dump,
        Self::Isolate,
        Self::CopyProbe,
        Self::Server,
        Self::Restore,
        Self::Inputs,
        Self::Observer,
        Self::Harness,
        Self::Seal,
        Self::Identity,
        Self::Intruder,
        Self::Canary,
        Self::Listener,
    ];

    /// Containers of the pods that hold nothing.
    pub const PROBERS: [Self; 3] = [Self::Intruder, Self::Canary, Self::Listener];

    /// The init containers that hold back the rest of their pod until the operator releases them.
    pub const GATED: [Self; 2] = [Self::Isolate, Self::Inputs];

    /// The pod in which it runs.
    pub fn pod(self) -> RunPod {
        match self {
            Self::Dump => RunPod::Dump,
            Self::Isolate | Self::CopyProbe | Self::Server => RunPod::Postgres,
            Self::Restore => RunPod::Restore,
            Self::Inputs | Self::Observer | Self::Harness => RunPod::Harness,
            Self::Seal => RunPod::Seal,
            Self::Identity => RunPod::Identity,
            Self::Intruder => RunPod::Intruder,
            Self::Canary => RunPod::Canary,
            Self::Listener => RunPod::Listener,
        }
    }

    /// Its name in the pod.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dump => "dump",
            Self::Isolate => "isolate",
            Self::Server => "postgres",
            Self::Restore => "restore",
            Self::Inputs => "inputs",
            Self::Observer => "observer",
            Self::Harness => "harness",
            Self::Seal => "seal",
            Self::Identity => "identity",
            Self::CopyProbe | Self::Intruder | Self::Canary | Self::Listener => "probe",
        }
    }

    /// The key of the run's Secret with the control token of its agent. A container without a token
    /// holds nothing, or has no agent that can be asked.
    pub fn token(self) -> Option<String> {
        match self {
            Self::Dump
            | Self::Isolate
            | Self::CopyProbe
            | Self::Restore
            | Self::Inputs
            | Self::Observer
            | Self::Harness
            | Self::Seal
            | Self::Identity => Some(format!("token-{}", self.name())),
            Self::Server | Self::Intruder | Self::Canary | Self::Listener => None,
        }
    }

    /// Loopback port of its agent.
    pub fn port(self) -> u16 {
        match self {
            Self::CopyProbe | Self::Observer => OBSERVER_PORT,
            Self::Dump
            | Self::Isolate
            | Self::Server
            | Self::Restore
            | Self::Inputs
            | Self::Harness
            | Self::Seal
            | Self::Identity
            | Self::Intruder
            | Self::Canary
            | Self::Listener => PORT,
        }
    }

    /// It runs the user's code, which can write its termination message and log.
    pub fn is_foreign(self) -> bool {
        self == Self::Harness
    }
}
