//! What is trusted: the machine's root certificates, and what `certs.d` has for a host.

use crate::error::{Error, Result, io};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

/// Where distributions keep all root certificates in one file; the first that is there counts.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Directories with a directory a host: `*.crt` are authorities, `*.cert` and `*.key` what we show ourselves by.
const CERT_DIRS: &[&str] = &["/etc/corten/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d"];

/// Files of certificates that are read at most, and their bytes.
const MAX_FILES: usize = 256;
const MAX_BYTES: u64 = 4 << 20;

#[derive(Debug)]
pub struct Tls {
    /// Looked into before the usual ones.
    pub more_dirs: Vec<PathBuf>,
    system: OnceLock<Vec<Certificate<'static>>>,
}

impl Tls {
    pub fn new(more_dirs: Vec<PathBuf>) -> Tls {
        Tls { more_dirs, system: OnceLock::new() }
    }

    /// The settings for `host[:port]`. `insecure`: any certificate will do.
    pub fn config(&self, authority: &str, insecure: bool) -> Result<TlsConfig> {
        let own = self.own(authority)?;
        let roots = self.system.get_or_init(system_roots).iter().chain(&own.roots).cloned();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        if let Some(client) = &own.client {
            // ureq panics over what rustls refuses.
            usable(client, provider.clone(), authority)?;
        }
        Ok(TlsConfig::builder()
            .unversioned_rustls_crypto_provider(provider)
            .root_certs(RootCerts::from(roots))
            .client_cert(own.client)
            .disable_verification(insecure)
            .build())
    }

    /// Somebody has set up a host's certificates: it is to be spoken to by TLS.
    pub fn knows(&self, authority: &str) -> bool {
        self.dirs(authority).any(|dir| dir.is_dir())
    }

    fn dirs(&self, authority: &str) -> impl Iterator<Item = PathBuf> {
        let dirs = self.more_dirs.iter().map(PathBuf::as_path).chain(CERT_DIRS.iter().map(Path::new));
        dirs.map(|dir| dir.join(authority)).collect::<Vec<_>>().into_iter()
    }

    /// What the directories of a host have.
    fn own(&self, authority: &str) -> Result<Own> {
        let mut own = Own::default();
        for dir in self.dirs(authority) {
            let Ok(entries) = std::fs::read_dir(&dir) else { continue };
            let mut files: Vec<PathBuf> =
                entries.filter_map(|entry| Some(entry.ok()?.path())).take(MAX_FILES).collect();
            files.sort();
            for file in files {
                match file.extension().and_then(|e| e.to_str()) {
                    Some("crt") => own.roots.extend(certificates(&file)?),
                    Some("cert") if own.client.is_none() => own.client = Some(client(&file)?),
                    _ => {}
                }
            }
        }
        Ok(own)
    }
}

#[derive(Default)]
struct Own {
    roots: Vec<Certificate<'static>>,
    client: Option<ClientCert>,
}

/// SSL_CERT_FILE and SSL_CERT_DIR go before the usual places. Without any, no server can prove itself, which is said when one tries.
fn system_roots() -> Vec<Certificate<'static>> {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let mut roots = Vec::new();
    let (file, dir) = (set("SSL_CERT_FILE"), set("SSL_CERT_DIR"));
    if let Some(dir) = &dir {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        for entry in entries.take(1024) {
            roots.extend(certificates(&entry.path()).unwrap_or_default());
        }
    }
    let usual = BUNDLES.iter().map(PathBuf::from).find(|path| path.is_file());
    let usual = usual.filter(|_| dir.is_none());
    if let Some(file) = file.or(usual) {
        roots.extend(certificates(&file).unwrap_or_default());
    }
    roots
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_BYTES), &mut bytes))
        .map_err(io(format!("read '{}'", path.display())))?;
    Ok(bytes)
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let items = parse_pem(&read(path)?).collect::<std::result::Result<Vec<_>, _>>();
    let items = items.map_err(|_| Error::Invalid(format!("'{}' is not a PEM file", path.display())))?;
    Ok(items
        .into_iter()
        .filter_map(|i| if let PemItem::Certificate(c) = i { Some(c) } else { None })
        .collect())
}

/// `x.cert` and its `x.key`.
fn client(path: &Path) -> Result<ClientCert> {
    let chain = certificates(path)?;
    let key_path = path.with_extension("key");
    let key = PrivateKey::from_pem(&read(&key_path)?)
        .map_err(|_| Error::Invalid(format!("'{}' is not a private key in PEM form", key_path.display())))?;
    if chain.is_empty() {
        return Err(Error::Invalid(format!("'{}' has no certificate", path.display())));
    }
    Ok(ClientCert::new_with_certs(&chain, key))
}

/// Certificate and key fit each other.
fn usable(client: &ClientCert, provider: Arc<rustls::crypto::CryptoProvider>, host: &str) -> Result<()> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = client.certs().iter().map(|c| CertificateDer::from(c.der().to_vec())).collect();
    let wrong =
        |cause: &str| Error::Invalid(format!("the client certificate for '{host}' cannot be used: {cause}"));
    let key = PrivateKeyDer::try_from(client.private_key().der().to_vec()).map_err(wrong)?;
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| wrong(&e.to_string()))?;
    let builder = builder.with_root_certificates(rustls::RootCertStore::empty());
    builder.with_client_auth_cert(chain, key).map(drop).map_err(|e| wrong(&e.to_string()))
}
