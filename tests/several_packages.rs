//! Several packages on one device: one request, several models, one verdict.

use portcullis::api::pb::v1::{CheckRequest, DetectorState, Outcome};
use portcullis::cli::assemble;
use portcullis::detect::PackageSource;

use crate::support::{TestServer, golden, tiny, user};

fn sources() -> Vec<PackageSource> {
    ["bert-sequence", "bert-multilabel", "bert-token"]
        .map(|folder| golden(folder).into())
        .to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_is_scanned_by_all_and_each_reports_for_itself() {
    let mut config = tiny();
    config.packages = sources();
    let server = TestServer::start(config).await;
    let mut client = server.client().await;
    let request = CheckRequest {
        include_scores: true,
        ..user("abc def. ghi")
    };
    let verdict = client.check(request).await.unwrap().into_inner();
    assert_eq!(verdict.outcome(), Outcome::Complete);
    let of_packages: Vec<_> = verdict
        .detectors
        .iter()
        .filter(|d| d.package != "built-in")
        .collect();
    let names: Vec<_> = of_packages.iter().map(|d| d.detector.as_str()).collect();
    assert_eq!(names, ["bert-multilabel", "bert-sequence", "bert-token"]);
    for detector in &of_packages {
        assert_eq!(detector.state(), DetectorState::Scored);
        assert_eq!(detector.package, detector.detector);
        let classes = match detector.detector.as_str() {
            "bert-sequence" => 3,
            "bert-multilabel" => 2,
            _ => 0,
        };
        assert_eq!(detector.scores.len(), classes);
    }
    // Exclusive classes share the whole; classes of their own do not.
    let sum: f32 = of_packages[1].scores.iter().map(|s| s.score).sum();
    assert!((sum - 1.0).abs() < 1e-5, "{sum}");

    // Only what is asked for runs.
    let request = CheckRequest {
        detectors: vec!["bert-token".into()],
        ..user("abc")
    };
    let verdict = client.check(request).await.unwrap().into_inner();
    assert_eq!(verdict.detectors.len(), 1);
    server.stop().await;
}

#[test]
fn two_detectors_of_one_name_are_refused_and_can_be_renamed() {
    let mut config = tiny();
    config.packages = vec![
        golden("bert-sequence").into(),
        golden("bert-sequence").into(),
    ];
    let error = assemble(&config).err().unwrap().to_string();
    assert!(
        error.contains("\"bert-sequence\"") && error.contains("packages.detectors"),
        "{error}"
    );
    config.packages[1].detectors = [("bert-sequence".into(), "second".into())].into();
    let guard = assemble(&config).unwrap();
    let names: Vec<_> = guard
        .catalog()
        .detectors
        .iter()
        .map(|d| d.name.as_str())
        .collect();
    assert!(names.ends_with(&["bert-sequence", "second"]), "{names:?}");
}
