//! A small web server that misbehaves as a test wants it to: it answers by a function, and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What was asked.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    pub query: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn authorization(&self) -> &str {
        self.header("authorization")
    }

    /// The first byte of `range: bytes=7-`.
    pub fn range(&self) -> Option<usize> {
        self.header("range").strip_prefix("bytes=")?.split('-').next()?.parse().ok()
    }
}

/// What to answer.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Break the connection off after so many bytes of the body.
    pub cut: Option<usize>,
    /// Say another length than the body has.
    pub length: Option<usize>,
    /// Say nothing at all for so long first.
    pub pause: Duration,
    /// Hang up without an answer.
    pub gone: bool,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status, body: body.into(), ..Reply::default() }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.into(), value.into()));
        self
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// The server; it ends when it is dropped.
pub struct Web {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    /// On 127.0.0.1, in the network namespace of this thread.
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Web {
        Web::start_at("127.0.0.1:0", handler)
    }

    pub fn start_at(address: &str, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Web {
        let listener = TcpListener::bind(address).expect("a loopback address can be bound");
        let address = listener.local_addr().expect("it is bound");
        let (asked, stop) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::new(AtomicBool::new(false)));
        let (log, end, handler) = (asked.clone(), stop.clone(), Arc::new(handler));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let (log, handler) = (log.clone(), handler.clone());
                if let Ok(stream) = stream {
                    // A client that goes away in the middle is what some tests are about.
                    std::thread::spawn(move || drop(serve(stream, &log, &*handler)));
                }
            }
        });
        Web { address, asked, stop, thread: Some(thread) }
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Request> {
        self.asked.lock().expect("no handler panics").clone()
    }

    /// How often something was asked for whose path ends so.
    pub fn count(&self, method: &str, end: &str) -> usize {
        self.asked().iter().filter(|r| r.method == method && r.path.ends_with(end)).count()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes it up.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One connection, request after request.
fn serve(stream: TcpStream, log: &Mutex<Vec<Request>>, handler: &Handler) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        // Somebody who speaks TLS, to whom servers say this.
        if reader.fill_buf()?.first() == Some(&0x16) {
            return writer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split_whitespace();
        let mut request = Request { method: words.next().unwrap_or_default().into(), ..Request::default() };
        let target = words.next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        (request.path, request.query) = (path.into(), query.into());
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            request.headers.insert(name.to_ascii_lowercase(), value.trim().into());
        }
        request.body.resize(request.header("content-length").parse().unwrap_or(0), 0);
        reader.read_exact(&mut request.body)?;
        log.lock().expect("no handler panics").push(request.clone());
        let reply = handler(&request);
        std::thread::sleep(reply.pause);
        if reply.gone {
            return writer.shutdown(std::net::Shutdown::Both);
        }
        let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = reply.length.unwrap_or(reply.body.len());
        head.push_str(&format!("content-length: {length}\r\n\r\n"));
        writer.write_all(head.as_bytes())?;
        if request.method != "HEAD" {
            writer.write_all(&reply.body[..reply.cut.unwrap_or(reply.body.len()).min(reply.body.len())])?;
        }
        if reply.cut.is_some() {
            return writer.shutdown(std::net::Shutdown::Both);
        }
    }
}
