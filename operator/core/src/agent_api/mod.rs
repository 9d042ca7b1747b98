//! The control channel between operator and agents: what is asked and what is answered.
//!
//! An agent serves HTTP/1.1 on loopback of its pod, at [`PORT`](crate::run::layout::PORT) unless
//! the pod spec says otherwise; the operator reaches it by port-forward, which no NetworkPolicy
//! sees. Every request carries `Authorization: Bearer` and the pod's own token.
//!
//! Every answer but that to `GET /v1/healthz` ends its connection: of two requests sent at once the
//! second is never read.
//!
//! - `POST /v1/tasks/{id}` with a [`Task`](protocol::Task) starts it and answers with its
//!   [`TaskResult`](protocol::TaskResult) when it has ended. The same id again joins the running
//!   task or repeats its result: a lost connection or a restarted operator loses nothing and runs
//!   nothing twice. Only a task that has ended with a transient failure is begun again. Another
//!   task under an id that is taken is refused (422).
//! - `POST /v1/exit` ends the agent with exit code 0.
//! - `GET /v1/archive` answers with the archive that the last [`Task::Seal`](protocol::Task::Seal)
//!   made.
//! - `PUT /v1/watch` with a [`WatchTask`](tasks::WatchTask) begins to probe at intervals, in
//!   parallel to a running task; a watch that is already running continues unchanged.
//! - `GET /v1/watch` answers at once with the [`Tally`](crate::isolation::target::Tally) of each of
//!   its targets so far, in the task's order.
//! - `GET /v1/watch/breach` answers with the same, but only when an attempt at a target other than
//!   an excused one has connected.
//!
//! An agent that was started with `--echo` answers on that port of every address of its pod, over
//! TCP and UDP, with what it is sent.

pub mod copy_server;
pub mod protocol;
pub mod tasks;
