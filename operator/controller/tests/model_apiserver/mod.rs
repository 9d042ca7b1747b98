//! An apiserver in this process, for tests of the operator below a cluster.
//!
//! [`Model::client`] is an ordinary `kube::Client` whose requests end in a [`Store`]: list, watch,
//! get, create, update, merge patch, server-side apply, delete with preconditions, finalizers,
//! namespaces, quotas, metadata-only answers. `conformance` holds the cases that show that it
//! answers as the real one does; the end-to-end tests run the same cases on a cluster.
//!
//! It has no authorisation, no admission policies, no schema validation beyond names and
//! immutability, and no defaults. [`faults`] make what an apiserver refuses for such reasons;
//! [`pods`] plays scheduler, kubelet, provisioner and garbage collector.

mod apply;
pub mod conformance;
pub mod faults;
mod http;
mod kinds;
pub mod pods;
pub mod store;

use ::http::{Request, Response};
use futures::future::BoxFuture;
use kube::Client;
use kube::client::Body;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

use faults::{Call, Fault, Faults};
use kinds::Kind;
use store::Store;

/// The sender of a request: faults meet the operator alone, and its requests are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Operator,
    User,
}

/// The apiserver. A clone is another handle to the same one.
#[derive(Clone)]
pub struct Model {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes watches when something changed.
    changed: watch::Sender<u64>,
    /// Reports that a fault has killed the operator.
    killed: Notify,
}

/// Everything behind the one lock.
pub struct State {
    /// The objects.
    pub store: Store,
    /// Scheduler, kubelet, provisioner and garbage collector.
    pub pods: pods::Pods,
    faults: Faults,
    /// Watches that began in an earlier epoch end.
    epoch: u64,
    /// Watches deliver nothing while they are held.
    held: bool,
    /// Number of watches that have begun, and how many of the first of them have fallen silent.
    watches: u64,
    silent: u64,
    /// Number of bookmarks asked for so far.
    bookmarks: u64,
}

/// A process that sends requests.
struct Session {
    sender: Sender,
    /// A killed process gets no more answers.
    dead: AtomicBool,
}

impl Model {
    /// An apiserver without any object but the namespace `default`.
    pub fn new() -> Self {
        let mut store = Store::new();
        store.seed(serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"},
        }));
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    store,
                    pods: pods::Pods::default(),
                    faults: Faults::default(),
                    epoch: 0,
                    held: false,
                    watches: 0,
                    silent: 0,
                    bookmarks: 0,
                }),
                changed: watch::Sender::new(0),
                killed: Notify::new(),
            }),
        }
    }

    /// Serves the kind of a CustomResourceDefinition.
    pub fn define(&self, crd: &impl Serialize) {
        let kind = Kind::custom(&serde_json::to_value(crd).unwrap());
        self.state().store.define(kind);
    }

    /// A client of the operator: one process, until a fault kills it. It belongs to the runtime
    /// that calls this.
    pub fn operator(&self) -> Client {
        self.client(Sender::Operator)
    }

    /// A client of a user: no fault meets it.
    pub fn user(&self) -> Client {
        self.client(Sender::User)
    }

    fn client(&self, sender: Sender) -> Client {
        let session = Arc::new(Session {
            sender,
            dead: AtomicBool::new(false),
        });
        let model = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            model.clone().answer(Arc::clone(&session), request)
        });
        Client::new(service, "default")
    }

    fn answer(
        self,
        session: Arc<Session>,
        request: Request<Body>,
    ) -> BoxFuture<'static, Result<Response<http::Stream>, tower::BoxError>> {
        Box::pin(http::answer(self, session, request))
    }

    /// Everything behind the lock, to arrange a scene or to look at one. Watches hear of changes
    /// when the guard is dropped.
    pub fn state(&self) -> Guard<'_> {
        let state = self.lock();
        Guard {
            before: state.told(),
            state,
            changed: &self.shared.changed,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an object in place as it is, status, times and UID included where it has them.
    pub fn seed(&self, object: Value) {
        self.state().store.seed(object);
    }

    /// An object as it is stored.
    pub fn get<K>(&self, namespace: &str, name: &str) -> Option<K>
    where
        K: kube::Resource<DynamicType = ()> + DeserializeOwned,
    {
        let object = self.lock().store.object::<K>(namespace, name)?;
        Some(serde_json::from_value(object).unwrap())
    }

    /// All objects of a kind.
    pub fn all<K>(&self) -> Vec<K>
    where
        K: kube::Resource<DynamicType = ()> + DeserializeOwned,
    {
        let objects = self.lock().store.objects(&K::plural(&()));
        let typed = objects.into_iter().map(serde_json::from_value);
        typed.map(Result::unwrap).collect()
    }

    /// Adds a fault.
    pub fn fault(&self, fault: Fault) {
        self.state().faults.add(fault);
    }

    /// Takes back all faults that have not been met.
    pub fn forget_faults(&self) {
        self.state().faults.forget();
    }

    /// The number of matching requests of the operator so far.
    pub fn count(&self, matches: impl Fn(&Call) -> bool) -> usize {
        let state = self.lock();
        state
            .faults
            .calls()
            .iter()
            .filter(|call| matches(call))
            .count()
    }

    /// Requests of the operator so far, with what was answered.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().faults.calls().to_vec()
    }

    /// Ends all watches, as an apiserver does that is restarted.
    pub fn drop_watches(&self) {
        self.state().epoch += 1;
    }

    /// Forgets all changes so far, as etcd's compaction does: watches that resume from before
    /// get 410.
    pub fn compact(&self) {
        self.state().store.compact();
    }

    /// Sends a bookmark to every watch that asked for bookmarks.
    pub fn bookmark(&self) {
        self.state().bookmarks += 1;
    }

    /// Lets all watches so far fall silent, as connections do whose other end is gone: they neither
    /// deliver nor end.
    pub fn silence_watches(&self) {
        let mut state = self.state();
        state.silent = state.watches;
    }

    /// Keeps watches from delivering, or releases them.
    pub fn hold_watches(&self, held: bool) {
        self.state().held = held;
    }

    /// Waits until something is to be seen. The state must not be locked while it is looked for
    /// elsewhere.
    pub async fn until<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let mut changed = self.shared.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if let Some(found) = look(self) {
                return found;
            }
            assert!(changed.changed().await.is_ok(), "{what} can no longer come");
        }
    }

    /// Completes when a fault has killed the operator.
    pub async fn killed(&self) {
        self.shared.killed.notified().await;
    }
}

/// The state, locked.
pub struct Guard<'a> {
    before: (u64, u64, u64, bool),
    state: MutexGuard<'a, State>,
    changed: &'a watch::Sender<u64>,
}

impl std::ops::Deref for Guard<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl std::ops::DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.state.react();
        // A look changes nothing, and wakes no watch.
        if self.state.told() != self.before {
            self.changed.send_modify(|turn| *turn += 1);
        }
    }
}

impl State {
    /// All events of watches.
    fn told(&self) -> (u64, u64, u64, bool) {
        (self.store.version(), self.epoch, self.bookmarks, self.held)
    }

    /// Lets the simulated controllers see what has changed.
    fn react(&mut self) {
        let Self { store, pods, .. } = self;
        pods.react(store);
    }
}

impl Session {
    fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }
}

/// An answer that never comes.
async fn never() -> Result<Infallible, tower::BoxError> {
    std::future::pending().await
}
