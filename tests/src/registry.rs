//! Registries for tests: Debian's docker-registry on loopback, and the documents of a test image for servers that misbehave.

use crate::images::image;
use crate::web::{Reply, Request};
use crate::{Background, Sandbox, wait_until};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::process::{Command, Stdio};

/// A user of a registry with passwords, and the line of its file of users.
pub const USER: &str = "user";
pub const PASSWORD: &str = "secret";
const USERS: &str = "user:$2b$04$EIqbfz4RZN/3Z4njBlR9nuWHIPdDlUwn6aCpiMPymuvIcYmA570M6\n";

/// docker-registry, with a directory of its own.
pub struct Registry {
    /// `127.0.0.1:5000`
    pub host: String,
    process: Background,
}

/// How it shall be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// TLS with `tls/server.crt` and `tls/server.key` in the sandbox: see [`certificates`].
    pub tls: bool,
    /// Asks for a certificate of `tls/ca.crt` from its clients.
    pub clients: bool,
    /// [`USER`] and [`PASSWORD`].
    pub password: bool,
}

impl Registry {
    #[track_caller]
    pub fn start(sandbox: &Sandbox, port: u16, options: Options) -> Registry {
        let dir = sandbox.dir.join(format!("registry-{port}"));
        std::fs::create_dir_all(&dir).expect("the sandbox is writable");
        std::fs::write(dir.join("users"), USERS).expect("the sandbox is writable");
        let tls = sandbox.dir.join("tls");
        let mut config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {0}}}, delete: {{enabled: true}}}}\n\
             http:\n  addr: 127.0.0.1:{port}\n",
            dir.display()
        );
        if options.tls {
            config +=
                &format!("  tls:\n    certificate: {0}/server.crt\n    key: {0}/server.key\n", tls.display());
        }
        if options.clients {
            config += &format!("    clientcas: [{}/ca.crt]\n", tls.display());
        }
        if options.password {
            config += &format!("auth: {{htpasswd: {{realm: test, path: {}/users}}}}\n", dir.display());
        }
        std::fs::write(dir.join("config.yml"), config).expect("the sandbox is writable");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(dir.join("config.yml")).stdin(Stdio::null());
        let process = Background::start("docker-registry", &mut command);
        let host = format!("127.0.0.1:{port}");
        wait_until("docker-registry to listen", 20, || TcpStream::connect(&host).is_ok());
        Registry { host, process }
    }

    /// Ends it.
    pub fn end(self) {
        self.process.signal(Signal::KILL);
        self.process.wait();
    }
}

/// An authority, a server's certificate for 127.0.0.1 and a client's, all in `tls/`: `ca.crt`, `server.crt`, `client.cert`, and keys.
pub fn certificates(sandbox: &Sandbox) {
    let script = r#"mkdir tls && cd tls
        new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout "$1.key" "${@:2}" 2>/dev/null; }
        new ca -x509 -subj /CN=test-authority -out ca.crt
        new server -subj /CN=server -out server.csr
        new client -subj /CN=client -out client.csr
        printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\n' >server.ext
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out server.crt 2>/dev/null
        openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out client.cert 2>/dev/null
        ls server.crt client.cert"#;
    sandbox.host(script).ok();
}

/// The documents of the test image busybox, as a registry would have them.
#[derive(Debug, Clone)]
pub struct Documents {
    /// The manifest's digest, `sha256:…`.
    pub digest: String,
    pub manifest: Vec<u8>,
    pub config: String,
    /// The one layer.
    pub layer: String,
    pub blobs: BTreeMap<String, Vec<u8>>,
}

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl Documents {
    pub fn busybox() -> Documents {
        let dir = image("busybox.oci");
        let read = |digest: &str| {
            let hex = digest.strip_prefix("sha256:").expect("a digest");
            std::fs::read(dir.join("blobs/sha256").join(hex)).expect("the layout is whole")
        };
        let text = |value: &serde_json::Value| value.as_str().expect("a digest").to_owned();
        let index = std::fs::read(dir.join("index.json")).expect("the layout is whole");
        let index: serde_json::Value = serde_json::from_slice(&index).expect("JSON");
        let digest = text(&index["manifests"][0]["digest"]);
        let manifest = read(&digest);
        let parsed: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
        let (config, layer) = (text(&parsed["config"]["digest"]), text(&parsed["layers"][0]["digest"]));
        let blobs = [&config, &layer].map(|digest| (digest.clone(), read(digest))).into();
        Documents { digest, manifest, config, layer, blobs }
    }

    /// What a registry that behaves would answer for the repository `x`.
    pub fn answer(&self, request: &Request) -> Reply {
        let last = request.path.rsplit('/').next().unwrap_or_default();
        if request.path == "/v2/" {
            return Reply::new(200, "{}");
        }
        if request.path.starts_with("/v2/x/manifests/") && (last == "latest" || last == self.digest) {
            return Reply::new(200, self.manifest.clone())
                .header("content-type", MANIFEST)
                .header("docker-content-digest", &*self.digest);
        }
        match self.blobs.get(last) {
            Some(blob) if request.path.starts_with("/v2/x/blobs/") => match request.range() {
                Some(start) => Reply::new(206, &blob[start..])
                    .header("content-range", format!("bytes {start}-{}/{}", blob.len() - 1, blob.len())),
                None => Reply::new(200, blob.clone()),
            },
            _ => error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        }
    }
}

/// An error as registries give it.
pub fn error(status: u16, code: &str, message: &str) -> Reply {
    let body = serde_json::json!({"errors": [{"code": code, "message": message}]});
    Reply::new(status, body.to_string()).header("content-type", "application/json")
}
