//! Wiring: from settings to a server that runs, and to its end.

pub mod accept;
pub mod clients;
pub mod clock;
pub mod fetch;
pub mod forgetting;
pub mod keyring;
pub mod mailer;
pub mod metrics;
pub mod peppers;
pub mod process;
pub mod server;
pub mod signing;
pub mod sweeper;
pub mod telemetry;
pub mod threads;
pub mod tls;
pub mod uses;
pub mod wire;

pub use server::{Ended, Server, StartError};
