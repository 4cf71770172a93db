//! Tollreeve: the control plane of AI gateways.

pub mod cli;
pub mod domain;
pub mod pb {
    #![allow(missing_docs, clippy::all, clippy::pedantic)]
    include!(concat!(env!("OUT_DIR"), "/protos.rs"));
}
