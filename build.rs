//! Compiles `proto/` with protox, so that no protoc is needed, and keeps the descriptor for
//! reflection and JSON. With the feature `cuda`, compiles `kernels/` with nvcc into one fatbin.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use prost::Message;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What is compiled of `proto/`.
const PROTOS: [&str; 2] = ["portcullis/v1/guard.proto", "inference/grpc_service.proto"];

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=proto");
    // For the test of licences.
    println!("cargo:rustc-env=TARGET={}", std::env::var("TARGET")?);
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let files = protox::compile(PROTOS, ["proto"])?;
    std::fs::write(out.join("portcullis.binpb"), files.encode_to_vec())?;
    tonic_prost_build::configure()
        .codec_path("crate::api::codec::Codec")
        .compile_fds(files)?;
    if std::env::var_os("CARGO_FEATURE_CUDA").is_some() {
        kernels(&out)?;
    }
    Ok(())
}

// === kernels ===

/// Machine code for these, and PTX of the first for what comes later. Hopper's and Blackwell's own
/// instructions need the names with an `a`, which run on that generation alone.
const ARCHITECTURES: &[&str] = &["80", "86", "89", "90a", "100", "120"];
/// The first nvcc that knows the last two of them.
const BLACKWELL_TOOLKIT: (u32, u32) = (12, 8);
/// The oldest nvcc that the sources are meant for.
const OLDEST_TOOLKIT: (u32, u32) = (12, 4);

/// `kernels/*.cu` to `$OUT_DIR/kernels.fatbin`, what ptxas says of it to `$OUT_DIR/ptxas.txt`, and
/// the toolkit's version to the variable `CUDA_TOOLKIT`.
///
/// `PORTCULLIS_CUDA_ARCHITECTURES` (`80,90a`) builds for fewer GPUs, in less time.
fn kernels(out: &Path) -> Result<()> {
    println!("cargo:rerun-if-changed=kernels");
    for variable in ["NVCC", "CUDA_HOME", "PATH", "PORTCULLIS_CUDA_ARCHITECTURES"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let nvcc = find_nvcc()?;
    let (major, minor) = toolkit_version(&nvcc)?;
    if (major, minor) < OLDEST_TOOLKIT {
        let path = nvcc.display();
        return Err(format!("{path} is of CUDA {major}.{minor}; 12.4 or later is needed").into());
    }
    println!("cargo:rustc-env=CUDA_TOOLKIT={major}.{minor}");

    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let mut sources: Vec<PathBuf> = std::fs::read_dir(root.join("kernels"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "cu"))
        .collect();
    sources.sort();
    let unit: String = sources
        .iter()
        .map(|source| format!("#include \"{}\"\n", source.display()))
        .collect();
    let (unit_file, fatbin) = (out.join("kernels.cu"), out.join("kernels.fatbin"));
    std::fs::write(&unit_file, unit)?;

    let chosen = std::env::var("PORTCULLIS_CUDA_ARCHITECTURES").unwrap_or_default();
    let all = chosen.trim().is_empty();
    let architectures: Vec<&str> = match all {
        true if (major, minor) < BLACKWELL_TOOLKIT => ARCHITECTURES[..4].to_vec(),
        true => ARCHITECTURES.to_vec(),
        false => chosen.split(',').map(str::trim).collect(),
    };
    let mut command = Command::new(&nvcc);
    command
        .args(["-fatbin", "-std=c++17", "-O3", "-lineinfo", "--threads=0"])
        .args(["-Xptxas", "-v", "-o"])
        .args([&fatbin, &unit_file]);
    for (i, name) in architectures.iter().enumerate() {
        command.arg(format!("-gencode=arch=compute_{name},code=sm_{name}"));
        if all && i == 0 {
            command.arg(format!("-gencode=arch=compute_{name},code=compute_{name}"));
        }
    }
    let run = command
        .output()
        .map_err(|e| format!("cannot run {}: {e}", nvcc.display()))?;
    let report = String::from_utf8_lossy(&run.stderr);
    if !run.status.success() {
        let stdout = String::from_utf8_lossy(&run.stdout);
        return Err(format!("{command:?} failed:\n{stdout}{report}").into());
    }
    std::fs::write(out.join("ptxas.txt"), report.as_bytes())?;
    Ok(())
}

/// `$NVCC`, then `$CUDA_HOME/bin`, `.cache/cuda/bin`, the search path and `/usr/local/cuda/bin`.
fn find_nvcc() -> Result<PathBuf> {
    if let Some(nvcc) = std::env::var_os("NVCC") {
        return Ok(nvcc.into());
    }
    let mut places = Vec::new();
    places.extend(std::env::var_os("CUDA_HOME").map(|home| PathBuf::from(home).join("bin")));
    places.push(PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join(".cache/cuda/bin"));
    places.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    places.push("/usr/local/cuda/bin".into());
    places
        .into_iter()
        .map(|place| place.join("nvcc"))
        .find(|nvcc| nvcc.is_file())
        .ok_or_else(|| {
            "the feature `cuda` needs nvcc 12.4 or later, and there is none in $NVCC, \
             $CUDA_HOME/bin, .cache/cuda/bin, $PATH or /usr/local/cuda/bin. scripts/install-nvcc.sh \
             installs it into .cache/cuda: no GPU and no root needed"
                .into()
        })
}

/// `(13, 0)` of `Cuda compilation tools, release 13.0, V13.0.88`.
fn toolkit_version(nvcc: &Path) -> Result<(u32, u32)> {
    let run = Command::new(nvcc)
        .arg("--version")
        .output()
        .map_err(|e| format!("cannot run {}: {e}", nvcc.display()))?;
    let text = String::from_utf8_lossy(&run.stdout);
    text.split("release ")
        .nth(1)
        .and_then(|rest| rest.split(',').next()?.split_once('.'))
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
        .ok_or_else(|| format!("{} --version says {text:?}", nvcc.display()).into())
}
