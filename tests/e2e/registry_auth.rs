//! Proving who we are, and to whom we don't.

use e2e::registry::{Documents, error};
use e2e::web::{Reply, Request, Web};
use e2e::{Background, Output, Pty, Sandbox};
use std::sync::Arc;

/// user:secret
const BASIC: &str = "Basic dXNlcjpzZWNyZXQ=";

/// Runs `corten` with a home of its own.
#[track_caller]
fn at_home(s: &Sandbox, line: &str, input: Option<&str>) -> Output {
    let mut command = s.command(line);
    command.env("HOME", s.dir.join("home")).env("XDG_RUNTIME_DIR", s.dir.join("runtime"));
    command.env("PATH", format!("{}:/usr/bin:/bin", s.dir.join("bin").display()));
    command.stdin(std::process::Stdio::piped());
    let mut running = Background::start(line, &mut command);
    if let Some(input) = input {
        running.input(input);
    }
    running.wait()
}

/// A registry that wants tokens, and the server that gives them: to anybody for pulling, and to `user` for more.
struct Tokens {
    registry: Web,
    server: Web,
}

fn tokens() -> Tokens {
    let server = Web::start(|request| {
        let known = match request.method.as_str() {
            "POST" => String::from_utf8_lossy(&request.body).contains("refresh_token=again"),
            _ => request.authorization() == BASIC,
        };
        if !known && !request.authorization().is_empty() {
            return Reply::new(401, r#"{"details":"incorrect username or password"}"#);
        }
        let offline = request.query.contains("offline_token=true");
        let refresh = if known && offline { r#","refresh_token":"again""# } else { "" };
        let token = if known { "known" } else { "anybody" };
        Reply::new(200, format!(r#"{{"token":"{token}","expires_in":300{refresh}}}"#))
    });
    let documents = Documents::busybox();
    let realm = format!("http://{}/token", server.address);
    let registry = Web::start(move |request| {
        let challenge =
            format!(r#"Bearer realm="{realm}",service="test registry",scope="repository:x:pull""#);
        match request.authorization() {
            "Bearer known" => documents.answer(request),
            "Bearer anybody" if request.path.contains("/x/") => documents.answer(request),
            _ => error(401, "UNAUTHORIZED", "authentication required").header("www-authenticate", challenge),
        }
    });
    Tokens { registry, server }
}

#[test]
fn tokens_for_anybody() {
    let s = Sandbox::new();
    let t = tokens();
    at_home(&s, &format!("pull -q {}/x", t.registry.address), None).ok();
    let asked = t.server.asked();
    // One for all requests, with the scope that is needed, and without saying who we are.
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].query, "service=test%20registry&scope=repository:x:pull");
    assert_eq!(asked[0].authorization(), "");
    s.end();
}

#[test]
fn tokens_by_login() {
    let s = Sandbox::new();
    let t = tokens();
    let host = t.registry.address.to_string();
    let wrong = at_home(&s, &format!("login -u user --password-stdin {host}"), Some("wrong\n"));
    assert!(wrong.code == 1 && wrong.stderr.contains("incorrect username or password"), "{wrong}");
    let right = at_home(&s, &format!("login -u user --password-stdin {host}"), Some("secret\n"));
    assert!(right.ok().contains("Login Succeeded"), "{right}");
    // The server gave something better to keep than the password.
    let file = std::fs::read_to_string(s.dir.join("home/.docker/config.json")).expect("it was written");
    assert!(file.contains(r#""identitytoken": "again""#) && !file.contains("c2VjcmV0"), "{file}");
    at_home(&s, &format!("pull -q {host}/x"), None).ok();
    let last = t.server.asked().pop().expect("it was asked");
    assert_eq!(last.method, "POST");
    let body = String::from_utf8_lossy(&last.body).into_owned();
    assert!(body.contains("grant_type=refresh_token") && body.contains("scope=repository:x:pull"), "{body}");
    assert!(t.registry.asked().iter().any(|r| r.authorization() == "Bearer known"));
    assert!(at_home(&s, &format!("logout {host}"), None).ok().contains("Removing login credentials"));
    assert!(at_home(&s, &format!("logout {host}"), None).ok().contains("Not logged in"));
    s.end();
}

#[test]
fn passwords_that_are_typed_are_not_shown() {
    let s = Sandbox::new();
    let web = Web::start(basic(Documents::busybox()));
    let line = format!("login {}", web.address);
    let start = || {
        let mut command = s.command(&line);
        command.env("HOME", s.dir.join("home"));
        Pty::start(&line, &command)
    };
    let mut pty = start();
    pty.expect("Username: ");
    pty.send("user\r");
    pty.expect("Password: ");
    // The terminal is as it was: `wait` sees to that.
    pty.send("\x03");
    assert_eq!(pty.wait().code, 130);
    let mut pty = start();
    pty.expect("Username: ");
    pty.send("user\r");
    pty.expect("Password: ");
    pty.send("secret\r");
    pty.expect("Login Succeeded");
    let output = pty.wait();
    assert!(output.code == 0 && !output.stdout.contains("secret"), "{output}");
    // Once more it is known.
    let mut pty = start();
    pty.expect("Authenticating with existing credentials...");
    pty.expect("Login Succeeded");
    assert_eq!(pty.wait().code, 0);
    s.end();
}

/// Asks for `user` and `secret` by itself.
fn basic(documents: Documents) -> impl Fn(&Request) -> Reply + Send + Sync {
    move |request| match request.authorization() {
        BASIC => documents.answer(request),
        _ => error(401, "UNAUTHORIZED", "who are you?").header("www-authenticate", "Basic realm=\"x\""),
    }
}

#[test]
fn credentials_of_every_file() {
    let s = Sandbox::new();
    let web = Web::start(basic(Documents::busybox()));
    let name = format!("{}/x", web.address);
    let denied = at_home(&s, &format!("pull -q {name}"), None);
    denied.fails(1, &["refuses: unauthorized: who are you?"]);
    let auths = format!(r#"{{"auths":{{"{}":{{"auth":"dXNlcjpzZWNyZXQ="}}}}}}"#, web.address);
    for path in
        ["home/.docker/config.json", "runtime/containers/auth.json", "home/.config/containers/auth.json"]
    {
        let path = s.dir.join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("the sandbox is writable");
        std::fs::write(&path, &auths).expect("the sandbox is writable");
        at_home(&s, &format!("pull -q {name}"), None).ok();
        at_home(&s, &format!("rmi {name}"), None).ok();
        std::fs::remove_file(path).expect("it was there");
    }
    s.end();
}

#[test]
fn credential_helpers() {
    let s = Sandbox::new();
    let web = Web::start(basic(Documents::busybox()));
    let name = format!("{}/x", web.address);
    s.host(
        r#"mkdir -p bin home/.docker; cat >bin/docker-credential-test <<'END'
#!/bin/sh
cd "$(dirname "$0")"
echo "$1" >>log
case $1 in
  get) read -r host; [ -e kept ] && cat kept || { echo "credentials not found in native keychain"; exit 1; } ;;
  store) cat >kept ;;
  erase) rm -f kept ;;
esac
END
chmod +x bin/docker-credential-test; echo '{"credsStore":"test"}' >home/.docker/config.json"#,
    )
    .ok();
    at_home(&s, &format!("pull -q {name}"), None).fails(1, &["who are you?"]);
    at_home(&s, &format!("login -u user --password-stdin {}", web.address), Some("secret")).ok();
    let kept = std::fs::read_to_string(s.dir.join("bin/kept")).expect("it was kept");
    assert!(kept.contains(r#""Username":"user","Secret":"secret""#), "{kept}");
    let file = std::fs::read_to_string(s.dir.join("home/.docker/config.json")).expect("it is there");
    assert!(!file.contains("c2VjcmV0"), "the password is in the keyring only: {file}");
    at_home(&s, &format!("pull -q {name}"), None).ok();
    at_home(&s, &format!("logout {}", web.address), None).ok();
    assert!(!s.dir.join("bin/kept").exists());
    let broken = r#"{"credsStore":"missing"}"#;
    std::fs::write(s.dir.join("home/.docker/config.json"), broken).expect("the sandbox is writable");
    at_home(&s, &format!("pull -q {}/y", web.address), None).fails(1, &["docker-credential-missing"]);
    s.end();
}

/// Everything at 127.0.0.2 is somebody else's.
#[test]
fn cve_2020_15157_credentials_stay_where_they_belong() {
    let s = Sandbox::new();
    let documents = Arc::new(Documents::busybox());
    let theirs = documents.clone();
    // It asks who we are, as if it were the registry, before it gives the layer to whoever comes.
    let storage = Web::start_at("127.0.0.2:0", move |request| {
        let path = request.path.replace("/storage/", "/v2/x/blobs/");
        theirs.answer(&Request { path, ..request.clone() })
    });
    let trap = Web::start_at("127.0.0.2:0", |_| {
        Reply::new(401, "").header("www-authenticate", "Basic realm=\"trap\"")
    });
    let (storage_at, trap_at) = (storage.address, trap.address);
    let ours = documents.clone();
    let registry = Web::start(move |request| {
        let reply = basic((*ours).clone())(request);
        if reply.status == 200 && request.path.ends_with(&ours.layer) {
            return Reply::new(307, "")
                .header("location", format!("http://{storage_at}/storage/{}", ours.layer));
        }
        if reply.status == 200 && request.path.ends_with(&ours.config) && request.query.is_empty() {
            return Reply::new(307, "")
                .header("location", format!("http://{storage_at}/storage/{}", ours.config));
        }
        if request.path.contains("/trap/") && request.authorization() == BASIC {
            return Reply::new(307, "").header("location", format!("http://{trap_at}/trap"));
        }
        reply
    });
    at_home(&s, &format!("login -u user --password-stdin {}", registry.address), Some("secret")).ok();
    at_home(&s, &format!("pull -q {}/x", registry.address), None).ok();
    assert!(!storage.asked().is_empty());
    assert!(storage.asked().iter().all(|r| r.authorization().is_empty()), "{:?}", storage.asked());
    let output = at_home(&s, &format!("pull -q {}/trap/x", registry.address), None);
    assert_eq!(output.code, 1, "{output}");
    assert!(!trap.asked().is_empty());
    assert!(trap.asked().iter().all(|r| r.authorization().is_empty()), "{:?}", trap.asked());
    s.end();
}

/// Credentials of one registry are no other's, whatever its name looks like (CVE-2021-41092).
#[test]
fn cve_2021_41092_credentials_are_for_one_host() {
    let s = Sandbox::new();
    let web = Web::start_at("127.0.0.3:0", basic(Documents::busybox()));
    std::fs::create_dir_all(s.dir.join("home/.docker")).expect("the sandbox is writable");
    let port = web.address.port();
    let auths = format!(
        r#"{{"auths":{{"127.0.0.3":{{"auth":"dXNlcjpzZWNyZXQ="}},"27.0.0.3:{port}":{{"auth":"dXNlcjpzZWNyZXQ="}}}}}}"#
    );
    std::fs::write(s.dir.join("home/.docker/config.json"), auths).expect("the sandbox is writable");
    at_home(&s, &format!("pull -q {}/x", web.address), None).fails(1, &["who are you?"]);
    assert!(web.asked().iter().all(|r| r.authorization().is_empty()));
    s.end();
}

#[test]
fn plain_http_is_for_this_machine_or_for_who_asks() {
    let s = Sandbox::new();
    s.host("ip addr add 198.51.100.7/32 dev lo").ok();
    let web = Web::start_at("198.51.100.7:0", {
        let documents = Documents::busybox();
        move |request: &Request| documents.answer(request)
    });
    let name = format!("{}/x", web.address);
    let output = s.corten(&format!("pull -q {name}"));
    assert_eq!(output.code, 1, "{output}");
    assert!(web.asked().iter().all(|r| !r.path.starts_with("/v2/")), "nothing was asked in the clear");
    let config = format!("[[registry]]\nlocation = '{}'\ninsecure = true\n", web.address);
    std::fs::write(s.dir.join("registries.toml"), config).expect("the sandbox is writable");
    let mut command = s.command(&format!("pull -q {name}"));
    command.env("CORTEN_REGISTRIES", s.dir.join("registries.toml"));
    Background::start("pull", &mut command).wait().ok();
    drop(web);
    s.host("ip addr del 198.51.100.7/32 dev lo").ok();
    s.end();
}

#[test]
fn a_mistake_in_the_configuration_is_shown() {
    let s = Sandbox::new();
    std::fs::write(s.dir.join("r.toml"), "[[registry]]\nprefix = 'x'\ninsecured = true\n").expect("writable");
    let mut command = s.command("pull x/y");
    command.env("CORTEN_REGISTRIES", s.dir.join("r.toml"));
    let output = Background::start("pull", &mut command).wait();
    output.fails(1, &["r.toml", "line 3", "insecured"]);
    s.end();
}
