//! Pulling from registries that misbehave.

use e2e::registry::{Documents, INDEX, MANIFEST, error};
use e2e::web::{Reply, Request, Web};
use e2e::{Output, Sandbox};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Pulls `x` of a server that answers like this.
#[track_caller]
fn pull(s: &Sandbox, web: &Web) -> Output {
    s.corten(&format!("pull {}/x", web.address))
}

/// A server that is right but for what `wrong` answers.
fn wrong(wrong: impl Fn(&Documents, &Request) -> Option<Reply> + Send + Sync + 'static) -> Web {
    let documents = Documents::busybox();
    Web::start(move |request| wrong(&documents, request).unwrap_or_else(|| documents.answer(request)))
}

/// What the store has must be whole: the image runs.
#[track_caller]
fn works(s: &Sandbox, web: &Web) {
    assert_eq!(s.corten(&format!("run --rm --pull never {}/x echo hello", web.address)).ok(), "hello");
}

/// Refused with one line that says this, and nothing is left in the store.
#[track_caller]
fn refused(s: &Sandbox, web: &Web, says: &[&str]) {
    let output = pull(s, web);
    assert_eq!(output.code, 1, "{output}");
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "an error is one line: {output}");
    for text in says {
        assert!(lines[0].contains(text), "it does not say `{text}`: {output}");
    }
    assert_eq!(s.corten("images -aq").ok(), "");
    let layers = std::fs::read_dir(s.scope.root.join("layers")).map_or(0, Iterator::count);
    assert_eq!(layers, 0, "no layer is left");
}

#[test]
fn a_registry_that_behaves() {
    let s = Sandbox::new();
    let web = wrong(|_, _| None);
    let output = pull(&s, &web);
    let digest = Documents::busybox().digest;
    let layer = Documents::busybox().layer["sha256:".len()..][..12].to_owned();
    let expected = format!(
        "Using default tag: latest\nlatest: Pulling from x\n{layer}: Pulling fs layer\n{layer}: Download complete\n\
         {layer}: Pull complete\nDigest: {digest}\nStatus: Downloaded newer image for {0}/x:latest\n{0}/x:latest",
        web.address
    );
    assert_eq!(output.ok(), expected);
    works(&s, &web);
    // A second time it is one question, which rate limits don't count.
    let before = web.asked().len();
    let again = pull(&s, &web);
    assert!(again.ok().contains("Status: Image is up to date for"), "{again}");
    let asked = &web.asked()[before..];
    assert_eq!(asked.iter().filter(|r| r.method == "GET" && r.path != "/v2/").count(), 0, "{asked:?}");
    s.end();
}

#[test]
fn a_layer_that_breaks_off_is_resumed_where_it_was() {
    let s = Sandbox::new();
    let times = AtomicUsize::new(0);
    let web = wrong(move |documents, request| {
        if !request.path.ends_with(&documents.layer) || times.fetch_add(1, Ordering::Relaxed) > 1 {
            return None;
        }
        let reply = documents.answer(request);
        let cut = Some(reply.body.len() / 2);
        Some(Reply { cut, ..reply })
    });
    let output = pull(&s, &web);
    assert!(output.ok().contains("Retrying in 1 second"), "{output}");
    works(&s, &web);
    let asked = web.asked();
    let Documents { layer, blobs, .. } = Documents::busybox();
    let starts: Vec<_> = asked.iter().filter(|r| r.path.ends_with(&layer)).map(Request::range).collect();
    let size = blobs[&layer].len();
    assert_eq!(starts, [None, Some(size / 2), Some(size / 2 + (size - size / 2) / 2)]);
    s.end();
}

#[test]
fn a_pull_goes_on_where_a_killed_one_stopped() {
    let s = Sandbox::new();
    let web = wrong(|documents, request| {
        let reply = documents.answer(request);
        let first = request.path.ends_with(&documents.layer) && request.range().is_none();
        // Half of it, and then nothing more: the connection stays.
        first.then(|| Reply { length: Some(reply.body.len()), body: reply.body[..500_000].into(), ..reply })
    });
    let running = s.start(&format!("pull {}/x", web.address));
    let partial = s.scope.root.join("partial");
    e2e::wait_until("half of the layer to be there", 20, || {
        let files = std::fs::read_dir(&partial).into_iter().flatten().flatten();
        files.filter_map(|f| f.metadata().ok()).any(|m| m.len() == 500_000)
    });
    running.signal(rustix::process::Signal::KILL);
    assert_eq!(running.wait().code, 137);
    pull(&s, &web).ok();
    works(&s, &web);
    let ranges: Vec<_> = web.asked().iter().filter_map(Request::range).collect();
    assert_eq!(ranges, [500_000]);
    assert_eq!(std::fs::read_dir(partial).expect("it is there").count(), 0, "nothing unfinished is left");
    s.end();
}

#[test]
fn what_an_earlier_pull_left_is_not_trusted() {
    let s = Sandbox::new();
    let web = wrong(|_, _| None);
    let layer = Documents::busybox().layer;
    let partial = s.scope.root.join("partial");
    std::fs::create_dir_all(&partial).expect("the sandbox is writable");
    std::fs::write(partial.join(&layer["sha256:".len()..]), vec![7; 100_000])
        .expect("the sandbox is writable");
    pull(&s, &web).ok();
    works(&s, &web);
    s.end();
}

#[test]
fn a_server_without_ranges_begins_anew() {
    let s = Sandbox::new();
    let times = AtomicUsize::new(0);
    let web = wrong(move |documents, request| {
        let blob = documents.blobs.get(request.path.rsplit('/').next()?)?;
        let cut = (times.fetch_add(1, Ordering::Relaxed) == 1).then_some(blob.len() / 2);
        Some(Reply { cut, ..Reply::new(200, blob.clone()) })
    });
    pull(&s, &web).ok();
    works(&s, &web);
    s.end();
}

#[test]
fn a_range_at_the_wrong_place_is_not_sewn_in() {
    let s = Sandbox::new();
    let times = AtomicUsize::new(0);
    let web = wrong(move |documents, request| {
        if !request.path.ends_with(&documents.layer) {
            return None;
        }
        let reply = documents.answer(request);
        match times.fetch_add(1, Ordering::Relaxed) {
            0 => Some(Reply { cut: Some(reply.body.len() / 2), ..reply }),
            1 => {
                let blob = &documents.blobs[&documents.layer];
                let range = format!("bytes 5-{}/{}", blob.len() - 1, blob.len());
                Some(Reply::new(206, &blob[5..]).header("content-range", range))
            }
            _ => None,
        }
    });
    pull(&s, &web).ok();
    works(&s, &web);
    s.end();
}

#[test]
fn busy_registries_are_waited_for_as_long_as_they_ask() {
    let s = Sandbox::new();
    let times = Mutex::new(std::collections::BTreeMap::<String, usize>::new());
    let web = wrong(move |_, request| {
        let mut times = times.lock().expect("no handler panics");
        let count = times.entry(request.path.clone()).or_default();
        *count += 1;
        match *count {
            _ if request.path == "/v2/" => None,
            1 => Some(error(429, "TOOMANYREQUESTS", "slow down").header("retry-after", "1")),
            2 => Some(error(503, "UNAVAILABLE", "not now").header("retry-after", "1")),
            _ => None,
        }
    });
    let output = pull(&s, &web);
    assert!(
        output.ok().contains("the manifest: toomanyrequests: slow down: retrying in 1 second"),
        "{output}"
    );
    assert!(output.ok().contains("unavailable: not now: retrying in 1 second"), "{output}");
    works(&s, &web);
    s.end();
}

#[test]
fn rate_limits_are_told_when_they_are_long() {
    let s = Sandbox::new();
    let web = wrong(|_, request| {
        let limit = error(429, "TOOMANYREQUESTS", "You have reached your pull rate limit.");
        (request.path != "/v2/").then(|| limit.header("retry-after", "21600"))
    });
    let says =
        ["the rate limit of", "You have reached your pull rate limit.", "21600 seconds", "corten login"];
    refused(&s, &web, &says);
    s.end();
}

#[test]
fn a_server_that_says_nothing_is_asked_again() {
    let s = Sandbox::new();
    let times = AtomicUsize::new(0);
    let web = wrong(move |documents, request| {
        let silent = request.path.ends_with(&documents.layer) && times.fetch_add(1, Ordering::Relaxed) == 0;
        silent.then(|| Reply { pause: std::time::Duration::from_secs(4), ..documents.answer(request) })
    });
    std::fs::write(s.dir.join("registries.toml"), "timeout = 1\n").expect("the sandbox is writable");
    let mut command = s.command(&format!("pull {}/x", web.address));
    command.env("CORTEN_REGISTRIES", s.dir.join("registries.toml"));
    let output = e2e::Background::start("pull", &mut command).wait();
    assert!(output.ok().contains("timed out"), "{output}");
    s.end();
}

#[test]
fn wrong_digests_and_sizes() {
    let s = Sandbox::new();
    let layer = |change: fn(&mut Vec<u8>)| {
        wrong(move |documents, request| {
            let mut reply = documents.answer(request);
            request.path.ends_with(&documents.layer).then(|| {
                change(&mut reply.body);
                reply
            })
        })
    };
    let digest = Documents::busybox().layer;
    refused(&s, &layer(|body| body[600_000] ^= 1), &["layer sha256:"]);
    refused(&s, &layer(|body| body.truncate(1000)), &[&digest, "has 1000 bytes, not"]);
    refused(&s, &layer(|body| body.push(0)), &[&digest, "bytes, not"]);
    refused(&s, &layer(|body| body.fill(0)), &["layer sha256:"]);
    let config = wrong(|documents, request| {
        let mut reply = documents.answer(request);
        request.path.ends_with(&documents.config).then(|| {
            reply.body[10] ^= 1;
            reply
        })
    });
    refused(&s, &config, &["config sha256:", "digest mismatch"]);
    // The tag's manifest is another one than the server says.
    let manifest = wrong(|documents, request| {
        let other = format!("sha256:{}", "0".repeat(64));
        let reply = Reply::new(200, documents.manifest.clone()).header("content-type", MANIFEST);
        request.path.ends_with("latest").then(|| reply.header("docker-content-digest", other))
    });
    refused(&s, &manifest, &["says manifest sha256:0000", "but gives"]);
    s.end();
}

/// A server whose `latest` is this document.
fn document(kind: &'static str, document: impl Fn(&Documents) -> String + Send + Sync + 'static) -> Web {
    wrong(move |documents, request| {
        let reply = Reply::new(200, document(documents)).header("content-type", kind);
        request.path.ends_with("/manifests/latest").then_some(reply)
    })
}

#[test]
fn cve_2021_41190_a_manifest_is_not_taken_for_an_index() {
    let s = Sandbox::new();
    let both = |documents: &Documents| {
        let mut manifest: serde_json::Value = serde_json::from_slice(&documents.manifest).expect("JSON");
        manifest["manifests"] = serde_json::json!([]);
        manifest.to_string()
    };
    refused(&s, &document(MANIFEST, both), &["could be a manifest or an index"]);
    let plain = |documents: &Documents| String::from_utf8_lossy(&documents.manifest).into_owned();
    refused(&s, &document(INDEX, plain), &["says that it is", "but is listed as"]);
    let index = |documents: &Documents| {
        let size = documents.manifest.len();
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{{"mediaType":"{INDEX}","digest":"{}","size":{size},
               "platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#,
            documents.digest
        )
    };
    refused(&s, &document(INDEX, index), &["is listed as", "but given as"]);
    s.end();
}

#[test]
fn cve_2020_15157_foreign_layers_are_not_fetched_from_anywhere() {
    let s = Sandbox::new();
    let elsewhere = Web::start(|_| Reply::new(401, "").header("www-authenticate", "Basic realm=\"trap\""));
    let address = elsewhere.address;
    let foreign = move |documents: &Documents| {
        let mut manifest: serde_json::Value = serde_json::from_slice(&documents.manifest).expect("JSON");
        manifest["layers"][0]["urls"] = serde_json::json!([format!("http://{address}/layer")]);
        manifest.to_string()
    };
    refused(&s, &document(MANIFEST, foreign), &["is foreign", "not fetched"]);
    assert!(elsewhere.asked().is_empty());
    s.end();
}

#[test]
fn cve_2024_3727_digests_are_checked_before_they_are_used() {
    let s = Sandbox::new();
    for digest in ["sha256:../../../../etc/passwd", "../x", "sha256:", "md5:00"] {
        let climbing = move |documents: &Documents| {
            let mut manifest: serde_json::Value = serde_json::from_slice(&documents.manifest).expect("JSON");
            manifest["layers"][0]["digest"] = digest.into();
            manifest.to_string()
        };
        refused(&s, &document(MANIFEST, climbing), &["is not a sha256 digest"]);
    }
    s.end();
}

#[test]
fn what_is_no_image_is_refused_by_name() {
    let s = Sandbox::new();
    let artifact = |documents: &Documents| {
        let text = String::from_utf8_lossy(&documents.manifest).into_owned();
        text.replace("application/vnd.oci.image.config.v1+json", "application/vnd.cncf.helm.config.v1+json")
    };
    refused(
        &s,
        &document(MANIFEST, artifact),
        &["is not of a container image", "vnd.cncf.helm.config.v1+json"],
    );
    let first = |_: &Documents| r#"{"schemaVersion":1,"name":"x","fsLayers":[],"history":[]}"#.to_owned();
    let kind = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    refused(&s, &document(kind, first), &["first schema, which is not supported"]);
    refused(&s, &document("application/json", first), &["first schema, which is not supported"]);
    refused(
        &s,
        &document("text/html", |_| "<html>".to_owned()),
        &["not a container image, but of type 'text/html'"],
    );
    refused(&s, &document(MANIFEST, |_| "[]".to_owned()), &["cannot be read"]);
    refused(&s, &document(MANIFEST, |_| " ".repeat(5 << 20)), &["is longer than 4194304 bytes"]);
    refused(
        &s,
        &document(INDEX, |d| {
            format!(
                r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{MANIFEST}","digest":"{}","size":{},
            "platform":{{"os":"linux","architecture":"s390x"}}}}]}}"#,
                d.digest,
                d.manifest.len()
            )
        }),
        &["no image for linux/amd64; there are: linux/s390x"],
    );
    s.end();
}

#[test]
fn platforms_are_chosen_and_asked_for() {
    let s = Sandbox::new();
    let web = document(INDEX, |d| {
        let size = d.manifest.len();
        let entry = |digest: &str, arch: &str| {
            format!(
                r#"{{"mediaType":"{MANIFEST}","digest":"{digest}","size":{size},"platform":{{"os":"linux","architecture":"{arch}"}}}}"#
            )
        };
        let other = format!("sha256:{}", "1".repeat(64));
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{},{}]}}"#,
            entry(&other, "s390x"),
            entry(&d.digest, "amd64")
        )
    });
    let output = pull(&s, &web);
    output.ok();
    works(&s, &web);
    // The name goes by the index, as it was given.
    let digests = s.corten(&format!("image inspect -f '{{{{json .RepoDigests}}}}' {}/x", web.address));
    let index = output.stdout.lines().find_map(|l| l.strip_prefix("Digest: ")).expect("a digest");
    assert_eq!(digests.ok(), format!("[\"{}/x@{index}\"]", web.address));
    let other = s.corten(&format!("pull -q --platform linux/s390x {}/x", web.address));
    other.fails(1, &["manifest unknown"]);
    s.corten(&format!("pull -q --platform linux/arm64 {}/x", web.address))
        .fails(1, &["no image for linux/arm64"]);
    s.end();
}

#[test]
fn mirrors_come_first_and_may_be_away() {
    let s = Sandbox::new();
    let (mirror, origin) = (wrong(|_, _| None), wrong(|_, _| None));
    let config = |mirror: &str| {
        let text = format!(
            "[[registry]]\nprefix = 'images.example.org'\nlocation = '{}'\n[[registry.mirror]]\nlocation = '{mirror}'\n",
            origin.address
        );
        std::fs::write(s.dir.join("registries.toml"), text).expect("the sandbox is writable");
    };
    let pull = || {
        let mut command = s.command("pull -q images.example.org/x");
        command.env("CORTEN_REGISTRIES", s.dir.join("registries.toml"));
        e2e::Background::start("pull", &mut command).wait()
    };
    config(&mirror.address.to_string());
    assert_eq!(pull().ok(), "images.example.org/x:latest");
    assert!(origin.asked().is_empty() && !mirror.asked().is_empty());
    assert_eq!(s.corten("run --rm images.example.org/x echo hello").ok(), "hello");
    s.corten("rmi images.example.org/x").ok();
    // Nobody is there: the registry itself is asked.
    config("127.0.0.1:1");
    assert_eq!(pull().ok(), "images.example.org/x:latest");
    assert!(!origin.asked().is_empty());
    s.corten("rmi images.example.org/x").ok();
    // It has the manifest, and not the layer.
    let half = wrong(|d, r| r.path.ends_with(&d.layer).then(|| error(404, "BLOB_UNKNOWN", "no such blob")));
    config(&half.address.to_string());
    assert_eq!(pull().ok(), "images.example.org/x:latest");
    s.end();
}

#[test]
fn run_pulls_what_is_missing() {
    let s = Sandbox::new();
    let web = wrong(|_, _| None);
    let name = format!("{}/x", web.address);
    s.corten(&format!("run --rm --pull never {name} true")).fails(125, &["No such image", &name]);
    s.corten(&format!("run --explain {name} true")).fails(125, &["No such image", &name]);
    assert!(web.asked().is_empty());
    let output = s.corten(&format!("run --rm {name} echo hello"));
    assert_eq!(output.ok(), "hello");
    let said: Vec<&str> = output.stderr.lines().collect();
    assert_eq!(said[0], format!("Unable to find image '{name}:latest' locally"));
    assert_eq!(said[1], "latest: Pulling from x");
    assert_eq!(said.last(), Some(&&*format!("Status: Downloaded newer image for {name}:latest")));
    let output = s.corten(&format!("run --rm {name} echo hello"));
    assert_eq!((output.ok(), output.stderr.as_str()), ("hello", ""));
    let output = s.corten(&format!("run --rm --pull always {name} echo hello"));
    assert!(output.ok() == "hello" && output.stderr.contains("Status: Image is up to date for"), "{output}");
    s.corten(&format!("rmi {name}")).ok();
    let quiet = s.corten(&format!("create -q --name c1 {name} true"));
    assert_eq!(quiet.stderr, "");
    s.corten("rm c1").ok();
    s.corten("run --rm 127.0.0.1:1/x true").exits(125);
    s.end();
}

#[test]
fn several_pulls_of_one_image_at_once() {
    let s = Sandbox::new();
    let web = wrong(|documents, request| {
        let slow = request.path.ends_with(&documents.layer);
        slow.then(|| Reply { pause: std::time::Duration::from_millis(300), ..documents.answer(request) })
    });
    let pulls: Vec<_> = (0..4).map(|_| s.start(&format!("pull {}/x", web.address))).collect();
    for pull in pulls {
        pull.wait().ok();
    }
    works(&s, &web);
    assert_eq!(web.count("GET", &Documents::busybox().layer), 1, "one downloads, the others wait");
    s.end();
}

#[test]
fn interrupted_by_the_user() {
    let s = Sandbox::new();
    let web = wrong(|documents, request| {
        let reply = documents.answer(request);
        let layer = request.path.ends_with(&documents.layer) && request.range().is_none();
        layer.then(|| Reply { length: Some(reply.body.len()), body: reply.body[..1000].into(), ..reply })
    });
    let running = s.start(&format!("pull {}/x", web.address));
    let partial = s.scope.root.join("partial").join(&Documents::busybox().layer["sha256:".len()..]);
    e2e::wait_until("some of the layer to be there", 20, || {
        partial.metadata().is_ok_and(|m| m.len() == 1000)
    });
    running.signal(rustix::process::Signal::INT);
    assert_eq!(running.wait().code, 130);
    assert_eq!(s.corten("images -q").ok(), "");
    // The next one cleans up, and goes on.
    pull(&s, &web).ok();
    works(&s, &web);
    s.end();
}

#[test]
fn bars_on_a_terminal() {
    let s = Sandbox::new();
    let web = wrong(|documents, request| {
        let layer = request.path.ends_with(&documents.layer);
        layer.then(|| Reply { pause: std::time::Duration::from_millis(300), ..documents.answer(request) })
    });
    let mut pty = s.pty(&format!("pull {}/x", web.address));
    pty.expect(": Pulling fs layer");
    // The line is drawn again, and not another one below it.
    pty.expect("\x1b[1A\x1b[J");
    pty.expect(": Pull complete");
    pty.expect("Status: Downloaded newer image for");
    assert_eq!(pty.wait().code, 0);
    works(&s, &web);
    s.end();
}

#[test]
fn searching() {
    let s = Sandbox::new();
    let web = wrong(|_, request| {
        let hits = r#"{"results":[
            {"name":"library/nginx","description":"Serves \u001b[31m the web\nand more, for as long as it runs on the machine","star_count":20000,"is_official":true},
            {"name":"me/nginx","description":"","star_count":1}]}"#;
        (request.path == "/v1/search").then(|| Reply::new(200, hits))
    });
    let output = s.corten(&format!("search --limit 7 {}/nginx", web.address));
    assert_eq!(
        output.ok(),
        "NAME            DESCRIPTION                                     STARS     OFFICIAL\n\
         library/nginx   Serves  [31m the web and more, for as long a…   20000     [OK]\n\
         me/nginx                                                        1         "
    );
    assert!(web.asked().iter().any(|r| r.query == "q=nginx&n=7"), "{:?}", web.asked());
    let stars = s.corten(&format!("search -f stars=5 --format '{{{{.Name}}}}' {}/nginx", web.address));
    assert_eq!(stars.ok(), "library/nginx");
    let other = wrong(|_, _| None);
    s.corten(&format!("search {}/x", other.address)).fails(1, &["cannot be searched"]);
    s.end();
}
