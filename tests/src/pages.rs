//! Servers in containers, asked when they are there to be asked: a machine may be slow, and a first packet is lost now and then.

use crate::{Output, Sandbox, wait_until};

/// What follows the flags of `run`: a web server that answers on port 80 with these words.
pub fn serving(answer: &str) -> String {
    format!(
        "busybox sh -c 'mkdir -p /www; printf \"{answer}\" >/www/index.html; exec httpd -f -p 80 -h /www'"
    )
}

impl Sandbox {
    /// A detached container with a web server that listens. `flags` are those of `run`.
    #[track_caller]
    pub fn web(&self, flags: &str, answer: &str) -> String {
        let id = self.detached(&format!("{flags} {}", serving(answer)));
        self.listens(&id, 80);
        id
    }

    /// Waits until a program in the container's network listens at the port.
    #[track_caller]
    pub fn listens(&self, container: &str, port: u16) {
        let pid = self.inspect(container, "{{.State.Pid}}");
        let listening = format!(":{port:04X} ");
        wait_until(&format!("port {port} of {container}"), 20, || {
            ["tcp", "tcp6"].iter().any(|table| {
                let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
                text.lines().any(|line| {
                    let mut columns = line.split_whitespace().skip(1);
                    let local = columns.next().unwrap_or_default();
                    format!("{local} ").ends_with(&listening) && columns.nth(1) == Some("0A")
                })
            })
        });
    }

    /// What a page says that has to be there, asked from the host, until there is an answer.
    #[track_caller]
    pub fn page(&self, url: &str) -> String {
        let mut answer = String::new();
        wait_until(url, 30, || {
            let output = self.host(&format!("curl -s -m 5 '{url}'"));
            answer = output.stdout;
            output.code == 0
        });
        answer.trim_end().to_owned()
    }

    /// The same from a container. `place` is what comes before a command: `exec NAME`, or `run` with its flags and the image.
    #[track_caller]
    pub fn page_from(&self, place: &str, url: &str) -> String {
        let script =
            format!("for i in 1 2 3 4 5 6; do timeout 5 wget -q -O - {url} && exit; sleep 0.2; done; exit 1");
        let output = self.corten(&format!("{place} sh -c '{script}'"));
        output.ok().trim_end().to_owned()
    }

    /// Nobody listens there: the host says so at once.
    #[track_caller]
    pub fn refused(&self, url: &str) {
        self.host(&format!("curl -s -m 10 '{url}'")).exits(7);
    }

    /// Has a container try for a page that it must not get, for a second.
    #[track_caller]
    pub fn unheard(&self, place: &str, url: &str) {
        let output: Output = self.corten(&format!("{place} timeout 1 wget -q -O - {url}"));
        assert_ne!(output.code, 0, "{place}: {url}: {output}");
    }
}
