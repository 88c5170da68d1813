//! Packets between pods, and where they go.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use crate::attachment::port_name;
use crate::command::run;
use crate::pod::Pod;

const PATIENCE: Duration = Duration::from_secs(10);

/// A thread in the pod's namespace.
fn within<'scope, T: Send + 'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    pod: &'scope Pod,
    work: impl FnOnce() -> T + Send + 'scope,
) -> std::thread::ScopedJoinHandle<'scope, T> {
    scope.spawn(move || {
        let netns = File::open(pod.netns_path()).expect("the pod's namespace");
        setns(&netns, CloneFlags::CLONE_NEWNET).expect("enter it");
        work()
    })
}

#[track_caller]
pub(crate) fn ping(from: &Pod, to: &str, count: usize) {
    let count = count.to_string();
    let output = from
        .attempt(&["ping", "-q", "-n", "-c", &count, "-i", "0.1", "-W", "3", to])
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(output.contains(" 0% packet loss"), "{output}");
}

/// 256 KiB to an echo server in the other pod and back, unchanged.
pub(crate) fn tcp(from: &Pod, to: &Pod, address: &str) {
    let address: IpAddr = address.parse().unwrap();
    let sent: Vec<u8> = (0..256 * 1024_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let (ready, is_ready) = mpsc::channel::<SocketAddr>();
    std::thread::scope(|scope| {
        let server = within(scope, to, move || {
            let listener = TcpListener::bind((address, 0)).expect("listen");
            ready.send(listener.local_addr().unwrap()).unwrap();
            let (stream, _) = listener.accept().expect("accept");
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            std::io::copy(&mut (&stream), &mut (&stream)).expect("echo")
        });
        let port = is_ready.recv().expect("the server listens");
        let sent = &sent;
        let client = within(scope, from, move || {
            let stream = TcpStream::connect_timeout(&port, PATIENCE).expect("connect");
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut received = vec![0; sent.len()];
            std::thread::scope(|both| {
                both.spawn(|| (&stream).write_all(sent).expect("send"));
                (&stream).read_exact(&mut received).expect("receive");
            });
            received
        });
        assert!(client.join().expect("the client") == *sent, "TCP changed what was sent");
        server.join().expect("the server");
    });
}

/// 20 datagrams to an echo server in the other pod and back.
pub(crate) fn udp(from: &Pod, to: &Pod, address: &str) {
    let address: IpAddr = address.parse().unwrap();
    let (ready, is_ready) = mpsc::channel::<SocketAddr>();
    let socket = move |address: IpAddr| {
        let socket = UdpSocket::bind((address, 0)).expect("bind");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    let own: IpAddr = if address.is_ipv4() { "0.0.0.0" } else { "::" }.parse().unwrap();
    std::thread::scope(|scope| {
        within(scope, to, move || {
            let socket = socket(address);
            ready.send(socket.local_addr().unwrap()).unwrap();
            let mut datagram = [0; 64];
            for _ in 0..20 {
                let (length, peer) = socket.recv_from(&mut datagram).expect("receive");
                socket.send_to(&datagram[..length], peer).expect("echo");
            }
        });
        let port = is_ready.recv().expect("the server is bound");
        within(scope, from, move || {
            let socket = socket(own);
            let mut datagram = [0; 64];
            for number in 0..20_u8 {
                socket.send_to(&[number; 32], port).expect("send");
                let length = socket.recv(&mut datagram).expect("an echo");
                assert_eq!(datagram[..length], [number; 32]);
            }
        });
    });
}

/// The NIC forwards IPv4 from one representor's port to the other's.
#[track_caller]
pub(crate) fn assert_offloaded(from: &str, to: &str) {
    let flows = run("ovs-appctl", &["dpctl/dump-flows", "-m", "--names", "type=offloaded"]);
    let found = flows.lines().any(|flow| {
        let words = [
            &format!("in_port({from})"),
            "eth_type(0x0800)",
            "offloaded:yes",
            "dp:tc",
        ];
        words.iter().all(|word| flow.contains(*word)) && flow.ends_with(&format!("actions:{to}"))
    });
    assert!(
        found,
        "no offloaded flow from {from} to {to}:\n{flows}\nall flows:\n{}",
        run("ovs-appctl", &["dpctl/dump-flows", "-m", "--names"])
    );
}

/// tcpdump on one link.
pub(crate) struct Capture {
    process: Child,
    packets: Arc<Mutex<Vec<String>>>,
}

impl Capture {
    /// `pod` for a link of its namespace. Returns when it listens.
    pub(crate) fn start(pod: Option<&Pod>, link: &str, filter: &str) -> Self {
        let mut words: Vec<&str> = pod.map_or_else(Vec::new, |pod| vec!["ip", "netns", "exec", &pod.netns]);
        words.extend(["tcpdump", "-i", link, "-nn", "-e", "-l", "--immediate-mode", filter]);
        let mut process = Command::new(words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tcpdump");
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines();
        let listens = said.any(|line| line.expect("tcpdump's stderr").contains("listening on"));
        assert!(listens, "tcpdump on {link} ended");
        // what it says at its end goes nowhere, and must not be a broken pipe
        std::thread::spawn(move || said.count());
        let packets = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let store = Arc::clone(&packets);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok).filter(|line| line.contains("ethertype")) {
                store.lock().unwrap().push(line);
            }
        });
        Self { process, packets }
    }

    /// The packets so far, a line each.
    pub(crate) fn seen(&self) -> Vec<String> {
        // what is on its way to tcpdump still
        std::thread::sleep(Duration::from_millis(300));
        self.packets.lock().unwrap().clone()
    }

    pub(crate) fn stop(self) -> Vec<String> {
        self.seen()
    }
}

/// It must not outlive a failed test: it holds the namespace.
impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// All sorts of traffic from pod to pod. Once its flows are in the NIC, the representors see none of it.
pub(crate) fn assert_offloads(pods: [&Pod; 2]) {
    let [a, b] = pods;
    let names = pods.map(port_name);
    let representors = [names[0].as_str(), names[1].as_str()];
    let all = || {
        ping(a, &b.ipv4, 5);
        tcp(a, b, &b.ipv4);
        tcp(b, a, &a.ipv4);
        udp(a, b, &b.ipv4);
    };
    let captures = representors.map(|representor| Capture::start(None, representor, "ip"));
    all();
    assert_offloaded(representors[0], representors[1]);
    assert_offloaded(representors[1], representors[0]);
    let first: Vec<usize> = captures.iter().map(|capture| capture.seen().len()).collect();
    assert!(
        first[0] > 0,
        "the first packets miss the NIC's table: this capture shows nothing"
    );
    all();
    for ((capture, representor), first) in captures.into_iter().zip(representors).zip(first) {
        let seen = capture.stop();
        assert_eq!(
            seen.len(),
            first,
            "{representor} has seen packets of offloaded flows: {:?}",
            seen.get(first)
        );
    }
}
