//! Tollreeve: the control plane of AI gateways.

pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod engine;
pub mod grpc;
pub mod runtime;
pub mod store;
pub mod pb {
    //! What `proto/` compiles to.
    #![allow(missing_docs, clippy::all, clippy::pedantic)]
    include!(concat!(env!("OUT_DIR"), "/protos.rs"));

    /// Every message and service with its comments, as reflection serves it.
    pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));
}
