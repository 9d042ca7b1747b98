//! Faults: what goes wrong with which request of the operator.

use super::State;
use super::store::Refusal;

/// A request of the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// get, list, watch, create, update, patch, apply or delete.
    pub verb: &'static str,
    /// Plural name of the kind.
    pub plural: String,
    pub namespace: String,
    pub name: String,
    pub subresource: String,
    /// The number of this write, counted from 1; events do not count, and reads have none.
    pub write: Option<usize>,
    /// HTTP status of the answer; nothing while there is none, or when it was lost.
    pub answer: Option<u16>,
    /// The request was carried out, even if its answer was lost or says otherwise.
    pub committed: bool,
}

impl Call {
    /// `create pods/demo-dump`, as failures of tests show it.
    pub fn text(&self) -> String {
        let Self {
            verb,
            plural,
            name,
            subresource,
            ..
        } = self;
        let subresource = if subresource.is_empty() {
            String::new()
        } else {
            format!("/{subresource}")
        };
        format!("{verb} {plural}/{name}{subresource}")
    }
}

/// A way in which a request goes wrong.
pub enum Effect {
    /// The request is refused.
    Refuse(Refusal),
    /// The request is carried out, and refused all the same, as a gateway does that has waited too
    /// long.
    RefuseAfter(Refusal),
    /// The connection breaks before the request has arrived.
    LoseRequest,
    /// The request is carried out, and the connection breaks before its answer.
    LoseAnswer,
    /// The request arrives twice, as one does that a client has sent again: the second answer
    /// counts.
    Repeat,
    /// Nothing is ever answered, and nothing done.
    Hang,
    /// The request is carried out, and nothing is ever answered.
    HangAfter,
    /// Something happens right before the request is carried out.
    First(Box<dyn FnOnce(&mut State) + Send>),
    /// The operator is killed before the request has arrived.
    KillBefore,
    /// The operator is killed when the request was carried out.
    KillAfter,
}

/// Makes an effect for each request that a fault meets.
pub type MakeEffect = fn() -> Effect;

type Matches = Box<dyn Fn(&Call) -> bool + Send>;

/// A fault that meets matching requests.
pub struct Fault {
    matches: Matches,
    skip: usize,
    times: usize,
    effect: Box<dyn FnMut() -> Effect + Send>,
}

impl Fault {
    /// A fault that meets the first matching request.
    pub fn once(matches: impl Fn(&Call) -> bool + Send + 'static, effect: Effect) -> Self {
        let mut effect = Some(effect);
        Self {
            matches: Box::new(matches),
            skip: 0,
            times: 1,
            effect: Box::new(move || effect.take().unwrap()),
        }
    }

    /// A fault that meets so many matching requests.
    pub fn times(
        times: usize,
        matches: impl Fn(&Call) -> bool + Send + 'static,
        effect: impl FnMut() -> Effect + Send + 'static,
    ) -> Self {
        Self {
            matches: Box::new(matches),
            skip: 0,
            times,
            effect: Box::new(effect),
        }
    }

    /// The same fault, met only after so many matching requests went well.
    pub fn after(self, skip: usize) -> Self {
        Self { skip, ..self }
    }
}

/// Returns true for this request: `"create pods/demo-dump"`, or with a `*` for any verb or name.
pub fn on(pattern: &str) -> impl Fn(&Call) -> bool + Send + use<> {
    let (verb, rest) = pattern.split_once(' ').unwrap();
    let mut parts = rest.split('/').map(str::to_owned);
    let (verb, plural) = (verb.to_owned(), parts.next().unwrap());
    let (name, subresource) = (parts.next().unwrap_or("*".into()), parts.next());
    move |call| {
        (verb == "*" || verb == call.verb)
            && plural == call.plural
            && (name == "*" || name == call.name)
            && subresource.as_deref().unwrap_or_default() == call.subresource
    }
}

/// Returns true for the n-th write.
pub fn write(n: usize) -> impl Fn(&Call) -> bool + Send + use<> {
    move |call| call.write == Some(n)
}

/// 403 as an apiserver says it of missing rights.
pub fn forbidden() -> Refusal {
    Refusal::new(403, "Forbidden", "User \"operator\" cannot do this")
}

/// 409 of a write to an old version.
pub fn conflict() -> Refusal {
    Refusal::new(409, "Conflict", "the object has been modified")
}

/// 422.
pub fn invalid() -> Refusal {
    Refusal::new(422, "Invalid", "spec: Invalid value")
}

/// 429.
pub fn too_many_requests() -> Refusal {
    Refusal::new(
        429,
        "TooManyRequests",
        "the server has received too many requests",
    )
}

/// 500.
pub fn internal() -> Refusal {
    Refusal::new(500, "InternalError", "etcdserver: leader changed")
}

/// 504.
pub fn timeout() -> Refusal {
    Refusal::new(
        504,
        "Timeout",
        "request did not complete within the allotted timeout",
    )
}

/// All faults, and the requests that they could have met.
#[derive(Default)]
pub(super) struct Faults {
    faults: Vec<Fault>,
    calls: Vec<Call>,
    writes: usize,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(super) fn forget(&mut self) {
        self.faults.clear();
    }

    pub(super) fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// Records a request. Returns its place, and what goes wrong with it.
    pub(super) fn meet(&mut self, mut call: Call) -> (usize, Option<Effect>) {
        let is_write = ["create", "update", "patch", "apply", "delete"].contains(&call.verb);
        if is_write && call.plural != "events" {
            self.writes += 1;
            call.write = Some(self.writes);
        }
        let mut effect = None;
        for fault in &mut self.faults {
            if fault.times == 0 || !(fault.matches)(&call) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            fault.times -= 1;
            effect = Some((fault.effect)());
            break;
        }
        self.calls.push(call);
        (self.calls.len() - 1, effect)
    }

    /// Notes how a request ended.
    pub(super) fn ended(&mut self, place: usize, committed: bool, answer: Option<u16>) {
        let call = &mut self.calls[place];
        (call.committed, call.answer) = (committed, answer);
    }
}
