//! The local cluster, the images and what tests and demo share.

pub mod cache;
pub mod cluster;
pub mod command;
pub mod demo;
pub mod images;
pub mod packages;
pub mod phase;
pub mod tools;
pub mod world;
