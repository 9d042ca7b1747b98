//! A run: its names, its objects and their layout, and what it found out.

pub mod command;
pub mod credentials;
pub mod facts;
pub mod id;
pub mod layout;
pub mod object;
