//! Packages that must be signed: by minisign, of whom the configuration says.

use std::path::Path;

use portcullis::config::Config;
use serde_json::Value;

use crate::http::python;
use crate::program::{portcullis, stdout};
use crate::support::bundled;

/// The bundled package in a folder of its own, linked but for what is to be changed.
fn copied() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(bundled()).unwrap() {
        let file = file.unwrap();
        let to = dir.path().join(file.file_name());
        match file.file_name() == "guard.toml" {
            true => drop(std::fs::copy(file.path(), to).unwrap()),
            false => std::os::unix::fs::symlink(file.path(), to).unwrap(),
        }
    }
    dir
}

/// Signs a package's guard.toml; gives the public keys of the signer and of a stranger.
fn sign(package: &Path) -> (String, String) {
    let file = package.join("guard.toml");
    let keys: Value =
        serde_json::from_str(&python("sign.py", &[file.to_str().unwrap()], "")).unwrap();
    let key = |name: &str| keys[name].as_str().unwrap().to_owned();
    (key("signer"), key("stranger"))
}

fn verify(package: &Path, key: &str) -> Result<String, String> {
    let out = portcullis(&[
        "models",
        "verify",
        package.to_str().unwrap(),
        "--trusted-key",
        key,
    ]);
    match out.status.success() {
        true => Ok(stdout(&out).to_owned()),
        false => Err(String::from_utf8(out.stderr).unwrap()),
    }
}

#[test]
fn a_package_counts_if_a_trusted_key_signed_it_as_it_is() {
    let package = copied();
    let dir = package.path();
    let (signer, stranger) = sign(dir);
    let verified = verify(dir, &signer).unwrap();
    assert!(
        verified.contains("signed by a trusted key, 3 of 3 files"),
        "{verified}"
    );
    let error = verify(dir, &stranger).unwrap_err();
    assert!(error.contains("is of no trusted key"), "{error}");

    // Another threshold, under the old signature.
    let guard = std::fs::read_to_string(dir.join("guard.toml")).unwrap();
    std::fs::write(dir.join("guard.toml"), guard.replacen("0.5", "0.6", 1)).unwrap();
    let error = verify(dir, &signer).unwrap_err();
    assert!(error.contains("of another guard.toml"), "{error}");

    // A manifest without checksums signs nothing else.
    let bare = guard.split("[checksums]").next().unwrap();
    std::fs::write(dir.join("guard.toml"), bare).unwrap();
    let (signer, _) = sign(dir);
    let error = verify(dir, &signer).unwrap_err();
    assert!(error.contains("has no checksum"), "{error}");

    std::fs::remove_file(dir.join("guard.toml.minisig")).unwrap();
    let error = verify(dir, &signer).unwrap_err();
    assert!(error.contains("guard.toml.minisig"), "{error}");
}

#[test]
fn the_server_opens_nothing_that_is_not_signed() {
    let package = copied();
    let (signer, stranger) = sign(package.path());
    let start = |key: &str, package: &Path| {
        let mut config: Config = toml::from_str(&format!("trusted_keys = [{key:?}]")).unwrap();
        config.packages = vec![package.to_owned().into()];
        config.engine.threads = 1;
        portcullis::cli::assemble(&config)
            .map(drop)
            .map_err(|e| e.to_string())
    };
    start(&signer, package.path()).unwrap();
    let error = start(&stranger, package.path()).unwrap_err();
    assert!(error.contains("is of no trusted key"), "{error}");
    let error = start(&signer, &bundled()).unwrap_err();
    assert!(error.contains("guard.toml.minisig"), "{error}");
    let error = toml::from_str::<Config>("trusted_keys = [\"RW\"]").unwrap_err();
    assert!(
        error.to_string().contains("no public key of minisign"),
        "{error}"
    );
}
