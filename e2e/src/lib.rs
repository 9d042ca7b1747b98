//! The local cluster, the images, and code shared by tests and demo.

pub mod cluster;
pub mod demo;
pub mod fixture;
pub mod generate;
pub mod images;
pub mod outside;
pub mod toolchain;
pub mod verify;
