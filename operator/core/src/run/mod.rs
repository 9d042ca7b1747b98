//! A run: its names, its objects and their layout, and what it found out.

pub mod container;
pub mod credentials;
pub mod facts;
pub mod id;
pub mod key;
pub mod layout;
pub mod object;
pub mod observed;
