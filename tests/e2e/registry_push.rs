//! Pushing to registries that want it in other pieces, refuse, break off, or lead elsewhere.

use e2e::registry::error;
use e2e::web::{Reply, Request, Web};
use e2e::{Background, Output, Sandbox};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What a registry has been given.
#[derive(Debug, Default)]
struct Kept {
    /// Uploads under way, by number.
    uploads: Vec<Vec<u8>>,
    /// By digest.
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: BTreeMap<String, Vec<u8>>,
}

/// A registry that takes everything, in as many pieces as it comes.
#[derive(Debug, Clone, Default)]
struct Taker(Arc<Mutex<Kept>>);

impl Taker {
    fn answer(&self, request: &Request) -> Reply {
        let mut kept = self.0.lock().expect("no handler panics");
        let last = request.path.rsplit('/').next().unwrap_or_default().to_owned();
        let number = last.parse::<usize>().ok().filter(|n| *n < kept.uploads.len());
        match (request.method.as_str(), number) {
            ("GET", _) if request.path == "/v2/" => Reply::new(200, "{}"),
            ("POST", _) => {
                kept.uploads.push(Vec::new());
                Reply::new(202, "")
                    .header("location", format!("/v2/x/blobs/uploads/{}", kept.uploads.len() - 1))
            }
            ("PATCH", Some(number)) => {
                let range = format!("{}-", kept.uploads[number].len());
                assert!(request.header("content-range").starts_with(&range), "{:?}", request.headers);
                kept.uploads[number].extend_from_slice(&request.body);
                Reply::new(202, "").header("location", format!("/v2/x/blobs/uploads/{number}?state=a%2Fb"))
            }
            ("PUT", Some(number)) => {
                kept.uploads[number].extend_from_slice(&request.body);
                let digest = request.query.rsplit("digest=").next().unwrap_or_default().replace("%3A", ":");
                let blob = std::mem::take(&mut kept.uploads[number]);
                kept.blobs.insert(digest, blob);
                Reply::new(201, "")
            }
            ("PUT", None) => {
                kept.manifests.insert(last, request.body.clone());
                Reply::new(201, "")
            }
            ("HEAD", _) if kept.blobs.contains_key(&last) => Reply::new(200, ""),
            _ => error(404, "BLOB_UNKNOWN", "blob unknown"),
        }
    }

    /// Everything that the manifest names is there, with the digests that it should have.
    #[track_caller]
    fn is_whole(&self, s: &Sandbox) {
        let kept = self.0.lock().expect("no handler panics");
        let manifest: serde_json::Value =
            serde_json::from_slice(&kept.manifests["latest"]).expect("a manifest is JSON");
        let layers = manifest["layers"].as_array().into_iter().flatten();
        for descriptor in layers.chain([&manifest["config"]]) {
            let digest = descriptor["digest"].as_str().expect("a digest");
            let blob = &kept.blobs[digest];
            assert_eq!(descriptor["size"].as_u64(), Some(blob.len() as u64));
            std::fs::write(s.dir.join("blob"), blob).expect("the sandbox is writable");
            let sum = s.host("sha256sum <blob");
            assert_eq!(sum.ok().split(' ').next(), digest.strip_prefix("sha256:"));
        }
    }
}

/// A registry that takes everything but what `wrong` answers.
fn taker(wrong: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> (Taker, Web) {
    let taker = Taker::default();
    let inner = taker.clone();
    (taker, Web::start(move |request| wrong(request).unwrap_or_else(|| inner.answer(request))))
}

/// Pushes an image of 9 MB that nothing makes smaller.
#[track_caller]
fn push(s: &Sandbox, web: &Web) -> Output {
    let name = format!("{}/x", web.address);
    s.host("[ -e r ] || { mkdir r && head -c 9000000 /dev/urandom >r/file && tar -C r -cf r.tar .; }").ok();
    s.corten(&format!("import r.tar {name}")).ok();
    s.corten(&format!("push {name}"))
}

#[test]
fn pieces_of_a_layer() {
    let s = Sandbox::new();
    let (taken, web) = taker(|_| None);
    let output = push(&s, &web);
    assert!(output.ok().contains(": Pushed\nlatest: digest: sha256:"), "{output}");
    taken.is_whole(&s);
    let pieces: Vec<usize> =
        web.asked().iter().filter(|r| r.method == "PATCH").map(|r| r.body.len()).collect();
    assert_eq!(pieces[..2], [4 << 20; 2], "{pieces:?}");
    s.end();
}

#[test]
fn pieces_as_long_as_a_registry_wants_them() {
    let s = Sandbox::new();
    let taken = Taker::default();
    let inner = taken.clone();
    let web = Web::start(move |request| {
        let reply = inner.answer(request);
        if request.method == "POST" { reply.header("oci-chunk-min-length", "6291456") } else { reply }
    });
    push(&s, &web).ok();
    taken.is_whole(&s);
    assert_eq!(web.asked().iter().find(|r| r.method == "PATCH").map(|r| r.body.len()), Some(6 << 20));
    s.end();
}

#[test]
fn an_upload_that_breaks_off_begins_again() {
    let s = Sandbox::new();
    let times = std::sync::atomic::AtomicUsize::new(0);
    let (taken, web) = taker(move |request| {
        let second =
            request.method == "PATCH" && times.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1;
        second.then(|| Reply { gone: true, ..Reply::default() })
    });
    let output = push(&s, &web);
    assert!(output.ok().contains("retrying in 1 second"), "{output}");
    taken.is_whole(&s);
    s.end();
}

#[test]
fn what_a_registry_refuses_is_said_in_one_line() {
    let s = Sandbox::new();
    let (_, web) = taker(|request| {
        (request.method == "PUT" && request.path.contains("/manifests/"))
            .then(|| error(400, "MANIFEST_INVALID", "no such kind of manifest"))
    });
    let output = push(&s, &web);
    assert_eq!(output.code, 1, "{output}");
    assert_eq!(output.stderr.lines().count(), 1, "{output}");
    assert!(output.stderr.contains("manifest invalid: no such kind of manifest"), "{output}");
    let (_, web) = taker(|request| {
        (request.method == "POST").then(|| error(403, "DENIED", "read only, until tomorrow"))
    });
    let output = push(&s, &web);
    assert!(output.code == 1 && output.stderr.contains("denied: read only, until tomorrow"), "{output}");
    s.end();
}

/// Storage that takes the layers in the registry's place learns nothing of who we are.
#[test]
fn uploads_that_lead_elsewhere_take_no_credentials_along() {
    let s = Sandbox::new();
    let taken = Taker::default();
    let inner = taken.clone();
    let storage = Web::start_at("127.0.0.2:0", move |request| inner.answer(request));
    let (inner, elsewhere) = (taken.clone(), storage.address);
    let registry = Web::start(move |request| {
        if request.authorization() != "Basic dXNlcjpzZWNyZXQ=" {
            return error(401, "UNAUTHORIZED", "who are you?")
                .header("www-authenticate", "Basic realm=\"x\"");
        }
        let mut reply = inner.answer(request);
        for (name, value) in &mut reply.headers {
            if name == "location" {
                *value = format!("http://{elsewhere}{value}");
            }
        }
        reply
    });
    let name = format!("{}/x", registry.address);
    s.host("mkdir r && head -c 5000000 /dev/urandom >r/file && tar -C r -cf r.tar .").ok();
    s.corten(&format!("import r.tar {name}")).ok();
    let home = |line: &str, input: &str| {
        let mut command = s.command(line);
        command.env("HOME", s.dir.join("home")).stdin(std::process::Stdio::piped());
        let mut running = Background::start(line, &mut command);
        running.input(input);
        running.wait()
    };
    home(&format!("login -u user --password-stdin {}", registry.address), "secret").ok();
    home(&format!("push {name}"), "").ok();
    taken.is_whole(&s);
    assert!(storage.asked().iter().any(|r| r.method == "PATCH"));
    assert!(storage.asked().iter().all(|r| r.authorization().is_empty()), "{:?}", storage.asked());
    s.end();
}

/// A token that the registry takes no more in the middle of a push is replaced by another one, with the scope that a push needs.
#[test]
fn tokens_that_end_are_asked_for_again() {
    let s = Sandbox::new();
    let given = Arc::new(Mutex::new(Vec::new()));
    let list = given.clone();
    let server = Web::start(move |request| {
        let mut given = list.lock().expect("no handler panics");
        given.push(request.query.clone());
        Reply::new(200, format!(r#"{{"token":"token{}","expires_in":300}}"#, given.len()))
    });
    let realm = format!("http://{}/token", server.address);
    let (taken, used) = (Taker::default(), Mutex::new(BTreeMap::<String, usize>::new()));
    let inner = taken.clone();
    let registry = Web::start(move |request| {
        let mut used = used.lock().expect("no handler panics");
        let count = used.entry(request.authorization().to_owned()).or_default();
        *count += 1;
        // Each is good for three requests.
        if request.authorization().is_empty() || *count > 3 {
            let challenge = format!(
                r#"Bearer realm="{realm}",service="s",scope="repository:x:pull,push",error="invalid_token""#
            );
            return error(401, "UNAUTHORIZED", "token expired").header("www-authenticate", challenge);
        }
        inner.answer(request)
    });
    push(&s, &registry).ok();
    taken.is_whole(&s);
    let given = given.lock().expect("no handler panics");
    assert!(given.len() > 2, "{given:?}");
    assert!(given.iter().all(|query| query == "service=s&scope=repository:x:pull,push"), "{given:?}");
    s.end();
}
