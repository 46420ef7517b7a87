//! The documents say what the program does.

use portcullis::config::Config;

use crate::support::repository;

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap()
}

/// Every key with a default, by its table.
fn keys(table: &toml::Table, prefix: &str, out: &mut Vec<(String, String)>) {
    for (key, value) in table {
        let path = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        match value {
            toml::Value::Table(inner) => keys(inner, &path, out),
            other => out.push((path, other.to_string())),
        }
    }
}

#[test]
fn the_configuration_reference_lists_every_key_with_its_default_and_no_other() {
    let reference = read("docs/configuration.md");
    let defaults = toml::Table::try_from(Config::default()).unwrap();
    let mut expected = Vec::new();
    keys(&defaults, "", &mut expected);
    expected.retain(|(key, _)| key != "packages");
    assert!(expected.len() > 20);
    for (key, default) in &expected {
        let row = format!("| `{key}` | `{default}` |");
        assert!(
            reference.contains(&row),
            "docs/configuration.md lacks the row {row}"
        );
    }
    // Keys without a default are marked "-"; all the others must be real.
    for line in reference.lines().filter_map(|l| l.strip_prefix("| `")) {
        let key = line.split('`').next().unwrap();
        let optional = line.contains("` | - |");
        assert!(
            optional || expected.iter().any(|(k, _)| k == key),
            "no such key: {key}"
        );
    }
}

#[test]
fn the_readme_shows_the_package_that_is_bundled() {
    let guard: toml::Table = read("models/portcullis-minilm-l6/guard.toml")
        .parse()
        .unwrap();
    let package = &guard["package"];
    let (name, version) = (&package["name"], &package["version"]);
    let shown = format!("{} {}", name.as_str().unwrap(), version.as_str().unwrap());
    let readme = read("README.md");
    assert!(readme.contains(&shown), "README.md does not show {shown}");
    let named = format!("{} ", name.as_str().unwrap());
    assert_eq!(
        readme.matches(&named).count(),
        readme.matches(&shown).count()
    );
}

#[test]
fn the_example_configuration_is_valid() {
    let reference = read("docs/configuration.md");
    let example = reference
        .split("```toml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let config: Config = toml::from_str(example).unwrap();
    config.validate().unwrap();
    assert!(!config.policies.is_empty() && !config.packages.is_empty());
}

#[test]
fn an_unknown_key_is_named() {
    let error = toml::from_str::<Config>("[server]\nlisten_on = \"x\"\n").unwrap_err();
    assert!(error.to_string().contains("listen_on"), "{error}");
}

/// Every metric is described for the user.
#[test]
fn the_guide_lists_every_metric() {
    let guide = read("docs/guide.md");
    for (name, ..) in portcullis::ops::metrics::METRICS {
        assert!(
            guide.contains(&format!("`{name}`")),
            "docs/guide.md lacks {name}"
        );
    }
}

/// The reasons of errors in `text`, wherever a code stands before one, and those that have a name.
fn reasons(text: &str) -> Vec<String> {
    let quoted = text.split('"').skip(1).step_by(2);
    let before = text.split('"').step_by(2);
    before
        .zip(quoted)
        .filter(|(before, _)| {
            let before = before.trim_end();
            let code = before.rsplit("Code::").next().unwrap_or_default();
            let coded = before.contains("Code::")
                && code
                    .strip_suffix(',')
                    .is_some_and(|c| c.chars().all(char::is_alphanumeric));
            coded || before.ends_with(": &str =")
        })
        .map(|(_, reason)| reason.to_owned())
        .filter(|r| r.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .collect()
}

#[test]
fn the_proto_lists_every_reason() {
    let proto = read("proto/portcullis/v1/guard.proto");
    let listed = proto.split("service GuardService").next().unwrap();
    let mut folders = vec![repository("src/api")];
    let mut found = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            for reason in reasons(&source) {
                found += 1;
                let words = listed.split(|c: char| !c.is_ascii_uppercase() && c != '_');
                assert!(
                    words.into_iter().any(|w| w == reason),
                    "guard.proto lacks {reason}"
                );
            }
        }
    }
    assert!(found > 15, "{found}");
}
