//! `corten map --serve`: what it answers to whom, and the page in a real browser.

use e2e::web::{Reply, Web};
use e2e::{Background, Sandbox, wait_until};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The server, and the URL that it says.
fn serve(s: &Sandbox) -> (Background, String) {
    let server = s.start("map --serve=127.0.0.1:0");
    wait_until("it says where it is", 20, || server.stdout().contains("http://"));
    let text = server.stdout();
    let url = text.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
    (server, url)
}

fn stop(server: Background) {
    server.signal(rustix::process::Signal::TERM);
    server.wait();
}

#[test]
fn it_answers_on_loopback_and_who_asks_by_a_loopback_name() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run -d --name web busybox sleep 1000").ok();
    let (server, url) = serve(&s);
    let ask = |flags: &str, path: &str| {
        s.host(&format!("curl -s -m 20 -w '\\n%{{http_code}}' {flags} {url}{path}"))
    };
    let page = ask("", "");
    assert!(page.ok().ends_with("\n200") && page.ok().contains("<!DOCTYPE html>"), "{page}");
    assert!(page.ok().contains("connect-src 'self'") && page.ok().contains("1 container on"), "{page}");
    let picture = ask("", "map.svg");
    assert!(picture.ok().starts_with("<svg") && picture.ok().contains(">web  busybox<"), "{picture}");
    // Asked anew for each answer.
    s.corten("run -d --name later busybox sleep 1000").ok();
    assert!(ask("", "map.svg").ok().contains(">later  busybox<"));
    for (flags, path, code) in [
        ("-H 'Host: evil.example'", "", "421"),
        ("-X POST", "", "405"),
        ("--path-as-is", "../../etc/passwd", "404"),
        ("-H 'Host:'", "", "421"),
    ] {
        assert_eq!(ask(flags, path).ok().lines().last(), Some(code), "{flags} {path}");
    }
    // Who says nothing, or too much, keeps nobody waiting for long.
    let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let silent = std::net::TcpStream::connect(&*address).unwrap();
    assert!(ask("", "map.svg").ok().ends_with("\n200"));
    drop(silent);
    let long = s.host(&format!("curl -s -m 20 -H \"X: $(head -c 40000 /dev/zero | tr '\\0' x)\" {url}"));
    assert_ne!(long.code, 0, "{long}");
    assert!(ask("", "").ok().ends_with("\n200"));
    stop(server);
    s.corten("map --serve=0.0.0.0:7070").fails(125, &["0.0.0.0", "--anywhere"]);
    s.corten("map --serve=nonsense").fails(125, &["nonsense"]);
    s.corten("map --serve=127.0.0.1:0 nosuch").fails(1, &["nosuch"]);
    s.corten("rm -f web later").ok();
    s.end();
}

/// Debian's `chromium-headless-shell`, or another that takes the same flags.
fn browser() -> &'static str {
    let found = ["chromium-headless-shell", "chromium"].into_iter().find(|name| {
        Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
    });
    found.expect("chromium-headless-shell is installed, as by `cargo xtask test`")
}

#[test]
fn the_page_lives_in_a_real_browser() {
    let browser = browser();
    let s = Sandbox::with(&["busybox"]);
    s.corten("run -d --name web -p 8080:80 busybox sleep 1000").ok();
    let (server, url) = serve(&s);

    // Between the browser and the server: holds the second picture back until there is something new in it, and points at
    // a thing, as a reader would.
    let (pictures, new) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, go) = (pictures.clone(), new.clone());
    let between = Web::start(move |request| {
        let picture = request.path == "/map.svg";
        if picture && count.fetch_add(1, Ordering::Relaxed) > 0 {
            wait_until("the second container", 60, || go.load(Ordering::Relaxed));
        }
        let from = format!("{url}{}", request.path.trim_start_matches('/'));
        let answer = Command::new("curl").args(["-s", "-m", "20", &from]).output().expect("curl runs");
        let mut body = answer.stdout;
        if !picture {
            body.extend_from_slice(b"<script>setTimeout(() => document.querySelector('svg g').dispatchEvent(new Event('click')), 4500)</script>");
        }
        Reply::new(200, body).header("Content-Type", if picture { "image/svg+xml" } else { "text/html" })
    });
    let home = s.dir.join("browser");
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    command.arg(format!("--user-data-dir={}", home.display())).env("HOME", &home);
    // Time stands still while an answer is awaited.
    command.args(["--virtual-time-budget=9000", "--dump-dom"]).arg(format!("http://{}/", between.address));
    let page = Background::start(browser, &mut command);
    wait_until("the page asks again", 60, || pictures.load(Ordering::Relaxed) > 1);
    s.corten("run -d --name later busybox sleep 1000").ok();
    new.store(true, Ordering::Relaxed);
    let page = page.wait();
    let dom = page.ok();
    assert!(dom.contains(">web  busybox<") && dom.contains(">later  busybox<"), "{page}");
    assert!(dom.contains("<span id=\"live\">live</span>"), "{page}");
    let hint = dom.split("id=\"hint\">").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or_default();
    assert!(!hint.is_empty() && !hint.contains("point at a thing"), "{hint:?}");
    drop(between);
    stop(server);
    s.corten("rm -f web later").ok();
    std::fs::remove_dir_all(&home).unwrap();
    s.end();
}
