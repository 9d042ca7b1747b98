//! The API as the apiserver will judge it, without an apiserver.

mod docs;
mod rules;
mod schemas;
