//! The GPU that tests run on.

use std::hash::{DefaultHasher, Hash, Hasher};
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

/// A path in the repository, which may be another directory than the one of the build.
pub(super) fn repository(path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if built.exists() { built } else { path.into() }
}

/// Sets what the emulated GPU is like; see tests/emulator/driver.cpp. Does nothing to a real one.
pub(super) fn emulate(name: &str, value: i64) {
    if let Some(driver) = DRIVER.get() {
        let name = std::ffi::CString::new(name).unwrap();
        // SAFETY: the function has this type, and the library stays loaded.
        unsafe {
            type Set = unsafe extern "C" fn(*const std::ffi::c_char, i64);
            let set = driver.get::<Set>(b"emulated_set").unwrap();
            set(name.as_ptr(), value);
        }
    }
}

/// Copies that the emulated GPU did before work of other streams that was enqueued earlier.
pub(super) fn overtakes() -> i64 {
    let driver = DRIVER.get().expect("the emulated GPU");
    // SAFETY: the function has this type, and the library stays loaded.
    unsafe {
        type Get = unsafe extern "C" fn() -> i64;
        driver.get::<Get>(b"emulated_overtakes").unwrap()()
    }
}

/// The emulated driver, while it stands in for the real one.
static DRIVER: OnceLock<libloading::Library> = OnceLock::new();

/// Compiles the emulated driver and cublasLt, where that was not done before, and loads them: whoever
/// asks for a library of that name later gets the one that is there.
fn load_emulator() {
    let source = repository("tests/emulator");
    let build = std::env::temp_dir().join(format!("emulated-gpu-{:016x}", sources()));
    std::fs::create_dir_all(&build).unwrap();
    let libraries: [(&str, &[&str]); 2] = [
        ("libcuda.so", &["driver.cpp", "streams.cpp", "threads.cpp"]),
        ("libcublasLt.so", &["cublaslt.cpp"]),
    ];
    for (library, files) in libraries {
        let out = build.join(library);
        if !out.exists() {
            let made = build.join(format!("{library}.{}", std::process::id()));
            let mut compiler = Command::new(std::env::var("CXX").unwrap_or("c++".into()));
            compiler
                .args(["-std=c++17", "-O2", "-march=native", "-fPIC", "-shared"])
                .args(["-fsanitize=alignment", "-fsanitize-undefined-trap-on-error"])
                .args(["-Wno-unknown-pragmas", &format!("-Wl,-soname,{library}")])
                .arg("-I")
                .arg(&source)
                .args(files.iter().map(|file| source.join(file)))
                .arg("-o")
                .arg(&made);
            if library != "libcuda.so" {
                compiler.arg(build.join("libcuda.so"));
            }
            let run = compiler.output().unwrap();
            let errors = String::from_utf8_lossy(&run.stderr);
            assert!(run.status.success(), "{errors}");
            std::fs::rename(made, &out).unwrap();
        }
        // SAFETY: our own library, without initialisers that do anything.
        let loaded = unsafe { libloading::Library::new(&out) }.unwrap();
        if library == "libcuda.so" {
            assert!(DRIVER.set(loaded).is_ok());
        } else {
            std::mem::forget(loaded);
        }
    }
}

/// A number that changes with every file the emulated GPU is made of.
fn sources() -> u64 {
    let mut hasher = DefaultHasher::new();
    for folder in ["kernels", "tests/emulator"] {
        let entries = std::fs::read_dir(repository(folder)).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
        files.sort();
        for file in files {
            std::fs::read(&file).unwrap().hash(&mut hasher);
        }
    }
    hasher.finish()
}
