//! Packages named hf://owner/name come from a hub: pinned, cached, resumed and checked. The hub here
//! speaks the real one's protocol on this machine.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::encoder::Model;
use portcullis::package::{HubOptions, Package, PackageError, TrustedKeys};
use sha2::{Digest, Sha256};

use crate::support::golden;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const MODEL: &str = "hf://acme/guard@v1";

/// A hub with one model.
struct Hub {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// Downloads of large files that are cut in the middle.
    cuts: AtomicUsize,
    /// Answers with content other than what the digests say.
    tampered: bool,
    /// Requests whose line holds this are never answered.
    silent_on: Option<&'static str>,
    /// Without this token nothing is given.
    token: Option<&'static str>,
    /// Requests, as `path range`.
    seen: Mutex<Vec<String>>,
}

impl Hub {
    fn serve(package: &Path, change: impl FnOnce(&mut State)) -> Self {
        let mut state = State::default();
        for entry in std::fs::read_dir(package).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            state.files.insert(name, std::fs::read(path).unwrap());
        }
        change(&mut state);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(state);
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let state = shared.clone();
                std::thread::spawn(move || answer(stream.unwrap(), &state, address));
            }
        });
        Self { address, state }
    }

    fn options(&self, cache: &Path) -> HubOptions {
        HubOptions {
            endpoint: format!("http://{}", self.address),
            cache: cache.to_owned(),
            token: None,
            offline: false,
            silence: Duration::from_secs(60),
        }
    }

    fn requests(&self, part: &str) -> usize {
        let seen = self.state.seen.lock().unwrap();
        seen.iter().filter(|request| request.contains(part)).count()
    }
}

/// Answers one request and closes.
fn answer(mut stream: TcpStream, state: &State, address: SocketAddr) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(request)) = lines.next() else {
        return;
    };
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    for line in lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
    {
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
    }
    let range = headers.get("range").cloned();
    let noted = format!("{path} {}", range.clone().unwrap_or_default());
    state.seen.lock().unwrap().push(noted);
    if state.silent_on.is_some_and(|part| path.contains(part)) {
        std::thread::sleep(Duration::from_secs(10));
        return;
    }

    let mut send = |status: &str, headers: &[(&str, String)], body: &[u8], cut: bool| {
        let mut head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n");
        head += &format!("content-length: {}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let sent = if cut { &body[..body.len() / 2] } else { body };
        let _ = stream.write_all(format!("{head}\r\n").as_bytes());
        let _ = stream.write_all(sent);
    };

    // Content is elsewhere, and is given without credentials.
    if let Some(name) = path.strip_prefix("/content/") {
        assert!(!headers.contains_key("authorization") || state.token.is_some());
        let mut body = state.files[name].clone();
        if state.tampered && name == "model.safetensors" {
            *body.last_mut().unwrap() ^= 1;
        }
        let total = body.len();
        let (first, last) = bounds(range.as_deref(), total);
        let large = last - first > 1000;
        let cut = large
            && state
                .cuts
                .fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1))
                .is_ok();
        let content = [("content-range", format!("bytes {first}-{last}/{total}"))];
        return send("206 Partial Content", &content, &body[first..=last], cut);
    }
    let allowed = state
        .token
        .is_none_or(|token| headers.get("authorization") == Some(&format!("Bearer {token}")));
    if !allowed {
        return send("401 Unauthorized", &[], b"", false);
    }
    if path.starts_with("/api/models/acme/guard/revision/") {
        let files: Vec<_> = state.files.keys().collect();
        let siblings: Vec<_> = files
            .iter()
            .map(|name| serde_json::json!({ "rfilename": name }))
            .collect();
        let body = serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string();
        return send("200 OK", &[], body.as_bytes(), false);
    }
    // A repository that was renamed answers with a relative redirect first.
    if let Some(rest) = path.strip_prefix("/acme/guard/resolve/") {
        let location = [("location", format!("/acme-new/guard/resolve/{rest}"))];
        return send("307 Temporary Redirect", &location, b"", false);
    }
    let Some(name) = path.strip_prefix(&format!("/acme-new/guard/resolve/{COMMIT}/")) else {
        return send("404 Not Found", &[], b"", false);
    };
    let Some(body) = state.files.get(name) else {
        return send("404 Not Found", &[], b"", false);
    };
    let commit = ("x-repo-commit", COMMIT.to_owned());
    if name.ends_with(".safetensors") {
        let digest: String = Sha256::digest(body)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let headers = [
            commit,
            ("x-linked-etag", format!("\"{digest}\"")),
            ("location", format!("http://{address}/content/{name}")),
        ];
        return send("302 Found", &headers, b"", false);
    }
    let mut git = sha1::Sha1::new();
    git.update(format!("blob {}\0", body.len()));
    git.update(body);
    let digest: String = git.finalize().iter().map(|b| format!("{b:02x}")).collect();
    let (first, last) = bounds(range.as_deref(), body.len());
    let headers = [
        commit,
        ("etag", format!("\"{digest}\"")),
        (
            "content-range",
            format!("bytes {first}-{last}/{}", body.len()),
        ),
    ];
    send("206 Partial Content", &headers, &body[first..=last], false);
}

/// First and last byte that `bytes=a-b` asks for.
fn bounds(range: Option<&str>, total: usize) -> (usize, usize) {
    let asked = range.and_then(|r| r.strip_prefix("bytes=")).unwrap_or("0-");
    let (first, last) = asked.split_once('-').unwrap();
    let last = last
        .parse()
        .map_or(total - 1, |last: usize| last.min(total - 1));
    (first.parse().unwrap(), last)
}

/// The package, whoever signed it.
fn open(path: &Path, options: &HubOptions) -> Result<Package, PackageError> {
    Package::open_with(path, &TrustedKeys::default(), options)
}

#[test]
fn a_model_is_fetched_pinned_cached_and_found_again_offline() {
    let hub = Hub::serve(&golden("roberta-sequence"), |_| {});
    let cache = tempfile::tempdir().unwrap();
    let options = hub.options(cache.path());
    let package = open(Path::new(MODEL), &options).unwrap();
    assert_eq!(package.manifest.name, "guard");
    assert_eq!(package.manifest.version, COMMIT);
    Model::build(&package).unwrap();
    assert_eq!(hub.requests("golden.json"), 0, "only the files needed");

    // The layout that the hub's other tools read.
    let model = cache.path().join("models--acme--guard");
    assert_eq!(
        std::fs::read_to_string(model.join("refs/v1")).unwrap(),
        COMMIT
    );
    let weights = model
        .join("snapshots")
        .join(COMMIT)
        .join("model.safetensors");
    assert!(weights.is_symlink() && weights.is_file());

    // The content is cached: a second time asks for the revision alone.
    let content = hub.requests("/content/");
    open(Path::new(MODEL), &options).unwrap();
    assert_eq!(hub.requests("/content/"), content);

    // Offline, and for a commit that is complete, nothing is asked.
    let all = hub.requests("");
    let offline = HubOptions {
        offline: true,
        ..options.clone()
    };
    open(Path::new(MODEL), &offline).unwrap();
    let pinned = format!("hf://acme/guard@{COMMIT}");
    open(Path::new(&pinned), &options).unwrap();
    assert_eq!(hub.requests(""), all);

    let other = open(Path::new("hf://acme/guard@v2"), &offline).unwrap_err();
    assert!(other.to_string().contains("HF_HUB_OFFLINE"), "{other}");
}

#[test]
fn a_cut_connection_is_taken_up_where_it_broke() {
    let hub = Hub::serve(&golden("roberta-sequence"), |state| state.cuts = 2.into());
    let cache = tempfile::tempdir().unwrap();
    let package = open(Path::new(MODEL), &hub.options(cache.path())).unwrap();
    Model::build(&package).unwrap();
    let half = hub.state.files["model.safetensors"].len() / 2;
    assert_eq!(
        hub.requests(&format!("/content/model.safetensors bytes={half}-")),
        1
    );
}

#[test]
fn a_file_with_a_wrong_digest_is_refused_and_removed() {
    let hub = Hub::serve(&golden("roberta-sequence"), |state| state.tampered = true);
    let cache = tempfile::tempdir().unwrap();
    let options = hub.options(cache.path());
    let error = open(Path::new(MODEL), &options).unwrap_err().to_string();
    assert!(
        error.contains("model.safetensors") && error.contains("digest"),
        "{error}"
    );
    let snapshot = cache
        .path()
        .join("models--acme--guard/snapshots")
        .join(COMMIT);
    assert!(!snapshot.join("model.safetensors").exists());

    // A cached file that changes on disk is found out, too.
    let hub = Hub::serve(&golden("roberta-sequence"), |_| {});
    let options = HubOptions {
        endpoint: hub.options(cache.path()).endpoint,
        ..options
    };
    open(Path::new(MODEL), &options).unwrap();
    let mut bytes = std::fs::read(snapshot.join("config.json")).unwrap();
    bytes.push(b' ');
    std::fs::write(snapshot.join("config.json"), bytes).unwrap();
    let error = open(Path::new(MODEL), &options).unwrap_err().to_string();
    assert!(
        error.contains("config.json") && error.contains("digest"),
        "{error}"
    );
    open(Path::new(MODEL), &options).unwrap();
}

#[test]
fn a_gated_model_needs_the_token() {
    let hub = Hub::serve(&golden("roberta-sequence"), |state| {
        state.token = Some("hf_secret")
    });
    let cache = tempfile::tempdir().unwrap();
    let options = hub.options(cache.path());
    let error = open(Path::new(MODEL), &options).unwrap_err().to_string();
    assert!(
        error.contains("401") && error.contains("HF_TOKEN"),
        "{error}"
    );
    let token = Some("hf_secret".to_owned());
    open(Path::new(MODEL), &HubOptions { token, ..options }).unwrap();
}

#[test]
fn a_sharded_model_comes_whole_and_a_missing_file_is_named() {
    let source = crate::support::minilm_package("minilm-sequence");
    let hub = Hub::serve(source.path(), |_| {});
    let cache = tempfile::tempdir().unwrap();
    let package = open(Path::new(MODEL), &hub.options(cache.path())).unwrap();
    Model::build(&package).unwrap();

    let hub = Hub::serve(source.path(), |state| {
        state.files.remove("model-00002-of-00002.safetensors");
    });
    let cache = tempfile::tempdir().unwrap();
    let error = open(Path::new(MODEL), &hub.options(cache.path())).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("model-00002-of-00002.safetensors"),
        "{error}"
    );

    let hub = Hub::serve(source.path(), |state| {
        state.files.retain(|name, _| !name.contains("safetensors"));
        state.files.insert("pytorch_model.bin".into(), vec![0; 10]);
    });
    let cache = tempfile::tempdir().unwrap();
    let error = open(Path::new(MODEL), &hub.options(cache.path())).unwrap_err();
    assert!(error.to_string().contains("safetensors"), "{error}");
}

#[test]
fn a_hub_that_falls_silent_is_given_up() {
    for part in ["/api/models/", "model.safetensors"] {
        let hub = Hub::serve(&golden("bert-sequence"), |s| s.silent_on = Some(part));
        let cache = tempfile::tempdir().unwrap();
        let mut options = hub.options(cache.path());
        options.silence = Duration::from_millis(700);
        let error = open(Path::new(MODEL), &options).unwrap_err();
        assert!(
            error.to_string().contains("said nothing for 700ms"),
            "{error}"
        );
        assert!(hub.requests(part) > 0);
    }
}
