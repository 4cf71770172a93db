//! Commands for people.

pub mod client;
pub mod show;
