//! Compiles `proto/` into Rust without `protoc`, and keeps the descriptor set for reflection and tests.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use prost_types::FileDescriptorSet;

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=migrations");
    fs::create_dir_all(out.join("gate"))?;
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files([
        "tollreeve/v1/access_service.proto",
        "tollreeve/v1/audit_service.proto",
        "tollreeve/v1/budget_service.proto",
        "tollreeve/v1/credit_service.proto",
        "tollreeve/v1/error_reason.proto",
        "tollreeve/v1/gate_service.proto",
        "tollreeve/v1/identity_service.proto",
        "tollreeve/v1/key_service.proto",
        "tollreeve/v1/price_service.proto",
        "tollreeve/v1/session_service.proto",
        "tollreeve/v1/sign_in_service.proto",
        "tollreeve/v1/types.proto",
        "tollreeve/v1/usage_service.proto",
    ])?;
    // Not `FileDescriptorSet::encode`: that would drop custom options.
    fs::write(out.join("descriptor.bin"), compiler.encode_file_descriptor_set())?;
    let descriptors = compiler.file_descriptor_set();
    tonic_prost_build::configure()
        .bytes(".tollreeve.v1")
        // Sorted: the same message is always the same bytes, which idempotency compares.
        .btree_map(".tollreeve.v1")
        .codec_path("crate::grpc::codec::Codec")
        .include_file("protos.rs")
        .compile_fds(descriptors.clone())?;
    gate_server(descriptors, &out)
}

/// The gate's service once more, with an answer to Authorize that is written without the message being built.
fn gate_server(mut descriptors: FileDescriptorSet, out: &Path) -> Result<(), Box<dyn Error>> {
    for file in &mut descriptors.file {
        file.service.retain(|service| service.name() == "GateService");
    }
    tonic_prost_build::configure()
        .build_client(false)
        .extern_path(".tollreeve.v1", "crate::pb::tollreeve::v1")
        .extern_path(".tollreeve.v1.AuthorizeResponse", "crate::grpc::gate_reply::AuthorizeReply")
        .codec_path("crate::grpc::codec::Codec")
        .out_dir(out.join("gate"))
        .compile_fds(descriptors)?;
    Ok(())
}
