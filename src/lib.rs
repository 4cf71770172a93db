//! Tollreeve: the control plane of AI gateways.

pub mod app;
pub mod domain;
pub mod engine;
pub mod grpc;
pub mod pb {
    //! What `proto/` compiles to.
    #![allow(missing_docs, clippy::all, clippy::pedantic)]
    include!(concat!(env!("OUT_DIR"), "/protos.rs"));
}

pub mod store;
