//! The GPU that tests run on.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::engine::cuda::device::Device;

/// `PORTCULLIS_TEST_GPU`: `real` fails where there is no GPU, `emulated` takes the emulated one in any
/// case; otherwise the real one is taken where there is a driver.
fn wants_real() -> bool {
    match std::env::var("PORTCULLIS_TEST_GPU").as_deref() {
        Ok("real") => true,
        Ok("emulated") => false,
        // SAFETY: loads the library and runs nothing but its initialisers.
        _ => unsafe { cudarc::driver::sys::is_culib_present() },
    }
}

/// Whether tests run on a real GPU.
pub(super) fn is_real() -> bool {
    static REAL: OnceLock<bool> = OnceLock::new();
    *REAL.get_or_init(|| {
        let real = wants_real();
        if !real {
            load_emulator();
        }
        real
    })
}

/// One test at a time has the GPU: memory and time are the whole machine's.
pub(super) fn gpu() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    is_real();
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn device() -> Device {
    Device::open(0).unwrap()
}

/// Says that a test needs a real GPU; `scripts/gpu/check` counts these lines.
pub(super) fn skip_without_gpu(test: &str) -> bool {
    if !is_real() {
        println!("SKIPPED without a GPU: {test}");
    }
    !is_real()
}

/// A path in the repository, which may be another directory than the one of the build.
pub(super) fn repository(path: &str) -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if built.exists() { built } else { path.into() }
}

/// Compiles the emulated driver and cublasLt and loads them: whoever asks for a library of that name
/// later gets the one that is there.
fn load_emulator() {
    let source = repository("tests/emulator");
    let build = std::env::temp_dir().join(format!("emulated-gpu-{}", std::process::id()));
    std::fs::create_dir_all(&build).unwrap();
    let libraries: [(&str, &[&str]); 2] = [
        ("libcuda.so", &["driver.cpp", "threads.cpp"]),
        ("libcublasLt.so", &["cublaslt.cpp"]),
    ];
    for (library, files) in libraries {
        let out = build.join(library);
        let mut compiler = Command::new(std::env::var("CXX").unwrap_or("c++".into()));
        compiler
            .args(["-std=c++17", "-O2", "-march=native", "-fPIC", "-shared"])
            .args(["-Wno-unknown-pragmas", &format!("-Wl,-soname,{library}")])
            .arg("-I")
            .arg(&source)
            .args(files.iter().map(|file| source.join(file)))
            .arg("-o")
            .arg(&out);
        if library != "libcuda.so" {
            compiler.arg(build.join("libcuda.so"));
        }
        let run = compiler.output().unwrap();
        assert!(
            run.status.success(),
            "{}",
            String::from_utf8_lossy(&run.stderr)
        );
        // SAFETY: our own library, without initialisers that do anything.
        let loaded = unsafe { libloading::Library::new(&out) }.unwrap();
        std::mem::forget(loaded);
    }
    std::fs::remove_dir_all(&build).unwrap();
}
