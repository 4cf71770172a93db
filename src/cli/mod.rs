//! Commands for people.

pub mod authorize;
pub mod charge;
pub mod client;
pub mod demo;
pub mod prices;
pub mod replay;
pub mod show;
