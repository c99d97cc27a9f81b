//! Debian's docker-registry on loopback: what others pushed is pulled, what we push others read.

use e2e::registry::{Options, PASSWORD, Registry, USER, certificates};
use e2e::{Background, Output, Sandbox, images::image};

/// Copies a test image there by skopeo.
#[track_caller]
fn copy(s: &Sandbox, registry: &Registry, from: &str, to: &str) {
    let from = if from.ends_with(".oci") {
        format!("oci:{}", image(from).display())
    } else {
        format!("docker-archive:{}", image(from).display())
    };
    let to = format!("docker://{}/{to}", registry.host);
    // A form that it knows to be there already would be taken for the other.
    let kept = if from.starts_with("oci:") { "--preserve-digests" } else { "" };
    s.host(&format!("skopeo copy -q --insecure-policy --dest-tls-verify=false {kept} {from} {to}")).ok();
}

#[track_caller]
fn with_config(s: &Sandbox, line: &str, config: &str, input: &str) -> Output {
    std::fs::write(s.dir.join("registries.toml"), config).expect("the sandbox is writable");
    let mut command = s.command(line);
    command.env("CORTEN_REGISTRIES", s.dir.join("registries.toml")).env("HOME", s.dir.join("home"));
    command.stdin(std::process::Stdio::piped());
    let mut running = Background::start(line, &mut command);
    running.input(input);
    running.wait()
}

#[test]
fn what_skopeo_pushed() {
    let s = Sandbox::new();
    let registry = Registry::start(&s, 5000, Options::default());
    for (from, to) in [("nginx.tar", "web:1"), ("nginx-zstd.oci", "web:zstd"), ("busybox.tar", "web:other")] {
        copy(&s, &registry, from, to);
    }
    let name = format!("{}/web", registry.host);
    let digest = |tag: &str| {
        let format = "--format '{{.Digest}}'";
        s.host(&format!("skopeo inspect --tls-verify=false {format} docker://{name}:{tag}")).ok().to_owned()
    };
    let output = s.corten(&format!("pull {name}:1"));
    assert!(output.ok().contains(&format!("Digest: {}", digest("1"))), "{output}");
    assert_eq!(s.corten(&format!("run --rm {name}:1 cat /var/www/html/index.html")).ok(), "hello from nginx");
    // The same layers in another form: nothing to unpack.
    let id = s.corten(&format!("images -q {name}:1")).ok().to_owned();
    let output = s.corten(&format!("pull {name}:zstd"));
    assert!(!output.ok().contains("Pull complete"), "{output}");
    assert_eq!(s.corten(&format!("images -q {name}:zstd")).ok(), id);
    // By digest, in a store that has nothing yet.
    s.corten(&format!("rmi -f {id}")).ok();
    s.corten(&format!("pull -q {name}@{}", digest("zstd"))).ok();
    assert_eq!(s.corten("images -q").ok(), id);
    // Parts of such a layer could be fetched alone; whole, it is zstd as any other.
    let chunked =
        "--format oci --dest-compress-format zstd:chunked --insecure-policy --dest-tls-verify=false";
    let archive = image("busybox.tar");
    s.host(&format!("skopeo copy -q {chunked} docker-archive:{} docker://{name}:chunked", archive.display()))
        .ok();
    let output = s.corten(&format!("pull {name}:chunked"));
    assert!(output.ok().contains("Pull complete"), "{output}");
    assert_eq!(s.corten(&format!("run --rm --network none {name}:chunked echo hello")).ok(), "hello");
    s.corten(&format!("pull -q -a {name}")).ok();
    let tags = s.corten("images --format '{{.Tag}}'");
    for tag in ["1", "chunked", "other", "zstd"] {
        assert!(tags.ok().lines().any(|t| t == tag), "{tags}");
    }
    s.corten(&format!("manifest inspect {name}:1")).ok();
    let verbose = s.corten(&format!("manifest inspect -v {name}:1"));
    assert!(verbose.ok().contains(&digest("1")), "{verbose}");
    s.corten(&format!("pull -q {name}:nosuch")).fails(1, &["web:nosuch", "manifest unknown"]);
    registry.end();
    s.end();
}

#[test]
fn push_and_pull_keep_digests() {
    let s = Sandbox::with(&["nginx", "busybox"]);
    let registry = Registry::start(&s, 5000, Options::default());
    let host = &registry.host;
    let id = s.corten("images -q --no-trunc nginx").ok().to_owned();
    s.corten(&format!("tag nginx {host}/a/web:1")).ok();
    let pushed = s.corten(&format!("push {host}/a/web:1"));
    let digest = pushed.ok().lines().last().and_then(|l| l.split(' ').nth(2)).expect("a digest").to_owned();
    assert!(digest.starts_with("sha256:"), "{pushed}");
    // Others read it, and see the same.
    let format = "--format '{{.Digest}}'";
    let seen = s.host(&format!("skopeo inspect --tls-verify=false {format} docker://{host}/a/web:1"));
    assert_eq!(seen.ok(), digest);
    s.host(&format!(
        "skopeo copy -q --insecure-policy --src-tls-verify=false docker://{host}/a/web:1 dir:copied"
    ))
    .ok();
    // Known by its digest here, too.
    let known = s.corten(&format!("images --digests --format '{{{{.Digest}}}}' {host}/a/web"));
    assert_eq!(known.ok(), digest);
    // Pushed again, everything is there.
    let again = s.corten(&format!("push {host}/a/web:1"));
    assert!(again.ok().ends_with(&pushed.ok().lines().last().expect("a line")[2..]), "{again}");
    assert_eq!(again.ok().matches("Layer already exists").count(), 4, "{again}");
    s.corten(&format!("rmi -f {id}")).ok();
    let pulled = s.corten(&format!("pull {host}/a/web:1"));
    assert!(pulled.ok().contains(&format!("Digest: {digest}")), "{pulled}");
    assert_eq!(s.corten(&format!("images -q --no-trunc {host}/a/web")).ok(), id);
    // To another repository: mounted, not sent. To another registry: as it came.
    s.corten(&format!("tag {host}/a/web:1 {host}/b/web:2")).ok();
    let mounted = s.corten(&format!("push {host}/b/web:2"));
    assert_eq!(mounted.ok().matches("Mounted from another repository").count(), 4, "{mounted}");
    assert!(mounted.ok().contains(&digest), "{mounted}");
    // Every tag of a repository at once.
    for tag in ["x", "y"] {
        s.corten(&format!("tag busybox {host}/all:{tag}")).ok();
    }
    s.corten(&format!("push -q -a {host}/all")).ok();
    let tags = s.host(&format!("curl -s http://{host}/v2/all/tags/list"));
    assert!(["\"x\"", "\"y\""].iter().all(|tag| tags.ok().contains(tag)), "{tags}");
    let other = Registry::start(&s, 5001, Options::default());
    s.corten(&format!("tag {host}/a/web:1 {}/c:3", other.host)).ok();
    let elsewhere = s.corten(&format!("push {}/c:3", other.host));
    assert!(elsewhere.ok().contains(&format!("3: digest: {digest}")), "{elsewhere}");
    s.corten("push nosuch:1").fails(1, &["An image does not exist locally with the tag: nosuch"]);
    other.end();
    registry.end();
    s.end();
}

#[test]
fn passwords() {
    let s = Sandbox::with(&["busybox"]);
    let registry = Registry::start(&s, 5000, Options { password: true, ..Options::default() });
    let name = format!("{}/x", registry.host);
    s.corten(&format!("tag busybox {name}")).ok();
    let run = |line: &str, input: &str| with_config(&s, line, "", input);
    let denied = run(&format!("push -q {name}"), "");
    denied.fails(1, &["refuses: 401 unauthorized", "'corten login"]);
    let login = format!("login -u {USER} --password-stdin {}", registry.host);
    assert_eq!(run(&login, "wrong").code, 1);
    let output = run(&login, PASSWORD);
    assert!(output.ok().ends_with("Login Succeeded"), "{output}");
    assert!(output.stderr.contains("stored unencrypted"), "{output}");
    run(&format!("push -q {name}"), "").ok();
    run(&format!("rmi -f {name} busybox"), "").ok();
    run(&format!("pull -q {name}"), "").ok();
    run(&format!("logout {}", registry.host), "").ok();
    assert_eq!(run(&format!("pull -q {name}:other"), "").code, 1);
    registry.end();
    s.end();
}

#[test]
fn tls_with_an_authority_of_ones_own() {
    let s = Sandbox::with(&["busybox"]);
    certificates(&s);
    let registry = Registry::start(&s, 5000, Options { tls: true, ..Options::default() });
    let name = format!("{}/x", registry.host);
    s.corten(&format!("tag busybox {name}")).ok();
    let push = |config: &str| with_config(&s, &format!("push -q {name}"), config, "");
    push("").fails(1, &["certificate is not trusted"]);
    let dirs = format!("cert-dirs = ['{}']\n", s.dir.join("certs.d").display());
    s.host(&format!("mkdir -p certs.d/{0} && cp tls/ca.crt certs.d/{0}/", registry.host)).ok();
    push(&dirs).ok();
    with_config(&s, &format!("pull -q {name}"), &dirs, "").ok();
    // An authority that says nothing of this server.
    s.host(&format!("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=other -keyout o.key -out certs.d/{}/ca.crt 2>/dev/null", registry.host)).ok();
    push(&dirs).fails(1, &["certificate is not trusted"]);
    // Whoever asks for it gets it.
    push(&format!("[[registry]]\nlocation = '{}'\ninsecure = true\n", registry.host)).ok();
    registry.end();
    s.end();
}

#[test]
fn client_certificates() {
    let s = Sandbox::with(&["busybox"]);
    certificates(&s);
    let registry = Registry::start(&s, 5000, Options { tls: true, clients: true, ..Options::default() });
    let name = format!("{}/x", registry.host);
    s.corten(&format!("tag busybox {name}")).ok();
    let dirs = format!("cert-dirs = ['{}']\n", s.dir.join("certs.d").display());
    let push = || with_config(&s, &format!("push -q {name}"), &dirs, "");
    s.host(&format!("mkdir -p certs.d/{0} && cp tls/ca.crt certs.d/{0}/", registry.host)).ok();
    let output = push();
    assert_eq!(output.code, 1, "{output}");
    s.host(&format!("cp tls/client.cert tls/client.key certs.d/{}/", registry.host)).ok();
    push().ok();
    s.host(&format!("cp tls/ca.key certs.d/{}/client.key", registry.host)).ok();
    push().fails(1, &["client certificate", "cannot be used"]);
    registry.end();
    s.end();
}

#[test]
fn any_registry_may_have_a_mirror_and_another_place() {
    let s = Sandbox::with(&["busybox"]);
    let registry = Registry::start(&s, 5000, Options::default());
    let config = format!(
        "[[registry]]\nprefix = 'docker.io'\nlocation = '{0}/hub'\n\
         [[registry]]\nprefix = 'example.org/team'\nlocation = '{0}/team-new'\n\
         [[registry]]\nprefix = 'evil.example.org'\nblocked = true\n",
        registry.host
    );
    let run = |line: &str| with_config(&s, line, &config, "");
    run("push -q busybox").ok();
    s.corten("tag busybox example.org/team/x:1").ok();
    run("push -q example.org/team/x:1").ok();
    s.host(&format!("curl -sf http://{}/v2/hub/library/busybox/tags/list", registry.host)).ok();
    s.host(&format!("curl -sf http://{}/v2/team-new/x/tags/list", registry.host)).ok();
    run("rmi -f busybox example.org/team/x:1").ok();
    assert_eq!(run("run --rm --network none busybox echo hello").ok(), "hello");
    assert_eq!(run("pull -q example.org/team/x:1").ok(), "example.org/team/x:1");
    run("pull -q evil.example.org/x").fails(1, &["registry 'evil.example.org' is blocked"]);
    registry.end();
    s.end();
}
