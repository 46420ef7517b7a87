//! Compiles `proto/` with protox, so that no protoc is needed, and keeps the descriptor for
//! reflection and JSON.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    // For the test of licences.
    println!("cargo:rustc-env=TARGET={}", std::env::var("TARGET")?);
    let files = protox::compile(["portcullis/v1/guard.proto"], ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("portcullis.binpb");
    std::fs::write(out, files.encode_to_vec())?;
    tonic_prost_build::configure()
        .codec_path("crate::api::codec::Codec")
        .compile_fds(files)?;
    Ok(())
}
