//! The local cluster, the images and what tests and demo share.

pub mod cache;
pub mod cluster;
pub mod command;
pub mod demo;
pub mod generate;
pub mod images;
pub mod interrupt;
pub mod packages;
pub mod phase;
pub mod rehearsal;
pub mod release;
pub mod tools;
pub mod verify;
pub mod world;
