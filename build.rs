//! Compiles `proto/` into Rust without `protoc`, and keeps the descriptor set for reflection and tests.

use std::{env, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=migrations");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files([
        "tollreeve/v1/access_service.proto",
        "tollreeve/v1/audit_service.proto",
        "tollreeve/v1/budget_service.proto",
        "tollreeve/v1/error_reason.proto",
        "tollreeve/v1/gate_service.proto",
        "tollreeve/v1/identity_service.proto",
        "tollreeve/v1/key_service.proto",
        "tollreeve/v1/types.proto",
    ])?;
    // Not `FileDescriptorSet::encode`: that would drop custom options.
    fs::write(out.join("descriptor.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .bytes(".tollreeve.v1")
        // Sorted: the same message is always the same bytes, which idempotency compares.
        .btree_map(".tollreeve.v1")
        .codec_path("crate::grpc::codec::Codec")
        .include_file("protos.rs")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
