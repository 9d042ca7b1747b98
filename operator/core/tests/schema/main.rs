//! The API as the apiserver will judge it, without an apiserver.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test may panic"
)]

mod docs;
mod rules;
mod schemas;
