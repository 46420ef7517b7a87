//! What `deploy/` holds is what Kubernetes, Prometheus and the program understand.

use portcullis::config::Config;
use portcullis::ops::metrics::METRICS;
use serde_json::{Value, json};

use crate::http::python;
use crate::support::repository;

#[test]
fn manifests_are_valid_and_alerts_and_panels_read_metrics_that_there_are() {
    let folder = repository("deploy");
    let mut args = vec![folder.to_str().unwrap()];
    args.extend(METRICS.iter().map(|(name, ..)| *name));
    let said: Value = serde_json::from_str(&python("deploy.py", &args, "")).unwrap();
    assert_eq!(said["unknown"], json!([]));
    assert_eq!(said["unread"], json!([]), "metrics that nobody looks at");
    assert_eq!(said["documents"].as_array().unwrap().len(), 5);
}

#[test]
fn the_cluster_s_configuration_and_policies_are_valid() {
    let mut config = Config::read(&repository("deploy/kubernetes/portcullis.toml")).unwrap();
    config.policies_file = Some(repository("deploy/kubernetes/policies.toml"));
    config.validate().unwrap();
    let policies = config.all_policies().unwrap();
    let listed: Vec<&str> = policies["default"]
        .detectors
        .keys()
        .map(String::as_str)
        .collect();
    let every = [
        "injection",
        "obfuscation",
        "pii",
        "pii_patterns",
        "secrets",
        "toxicity",
    ];
    assert_eq!(listed, every, "what is left out is off");
    // The pod waits for as long as the server may take to end.
    let deployment = repository("deploy/kubernetes/deployment.yaml");
    let deployment = std::fs::read_to_string(deployment).unwrap();
    let grace = deployment
        .split("terminationGracePeriodSeconds: ")
        .nth(1)
        .unwrap();
    let grace: u64 = grace.lines().next().unwrap().parse().unwrap();
    let server = &config.server;
    assert!(grace * 1000 > server.shutdown_delay_ms + server.drain_timeout_ms);
}
