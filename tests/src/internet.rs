//! The rest of the world as a sandbox knows it: a second network namespace behind a cable, with one web server.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

/// The address of the far end, and of the sandbox on that cable. The far end has no route to any other network, so
/// whoever gets an answer has been masqueraded.
pub const FAR: &str = "198.51.100.1";
pub const NEAR: &str = "198.51.100.2";
pub const FAR6: &str = "2001:db8:51::1";
pub const NEAR6: &str = "2001:db8:51::2";

/// Makes the namespace and the cable to the calling thread's network namespace, with a default route into it. The server
/// answers each request on port 80 with `hello ` and the address the request came from. It lasts as long as the process.
/// Returns a thread that is there.
pub fn connect() -> i32 {
    let (tell, told) = mpsc::channel();
    let (ready, go) = mpsc::channel();
    std::thread::spawn(move || {
        crate::sandbox::unshare_network();
        tell.send(rustix::thread::gettid()).expect("the sandbox waits");
        go.recv().expect("the sandbox sets the network up");
        let server = TcpListener::bind("[::]:80").expect("port 80 is free in a new namespace");
        for stream in server.incoming().flatten() {
            let _ = answer(stream);
        }
    });
    let tid = told.recv().expect("the thread runs").as_raw_pid();
    let script = format!(
        "ip link add world type veth peer name near netns {tid}
         nsenter --net=/proc/{tid}/ns/net sh -ec 'ip link set lo up; ip addr add {FAR}/24 dev near; ip addr add {FAR6}/64 dev near nodad; ip link set near up'
         ip addr add {NEAR}/24 dev world; ip addr add {NEAR6}/64 dev world nodad; ip link set world up
         ip route add default via {FAR}; ip route add default via {FAR6}"
    );
    let status = Command::new("sh").args(["-ec", &script]).status().expect("there is a shell");
    assert!(status.success(), "cannot set up the internet");
    ready.send(()).expect("the thread waits");
    crate::wait_until("the internet", 10, || TcpStream::connect((FAR, 80)).is_ok());
    tid
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let _ = stream.read(&mut [0; 1024])?;
    let body = format!("hello {}\n", stream.peer_addr()?.ip().to_canonical());
    write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
