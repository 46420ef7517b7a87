//! Every dependency's licence is a permissive one.

use std::process::Command;

/// What a product under Apache-2.0 can ship.
const ACCEPTED: [&str; 11] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Let in by name: a small crate below hf-hub that finds the home directory, used unchanged.
const EXCEPTIONS: [&str; 1] = ["option-ext: MPL-2.0"];

#[test]
fn every_dependency_has_an_accepted_licence() {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        // What is not downloaded on this platform is not shipped on it.
        .args(["--filter-platform", env!("TARGET")])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100);
    let mut refused = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or("(none)");
        let accepted = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX).is_ok_and(|e| {
            e.evaluate(|r| r.license.id().is_some_and(|id| ACCEPTED.contains(&id.name)))
        });
        if !accepted && !EXCEPTIONS.contains(&format!("{name}: {licence}").as_str()) {
            refused.push(format!("{name}: {licence}"));
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
}
