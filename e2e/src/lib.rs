//! The local cluster, the images and what tests and demo share.

pub mod cluster;
pub mod demo;
pub mod fixture;
pub mod generate;
pub mod images;
pub mod outside;
pub mod toolchain;
pub mod verify;
