//! The client for Open vSwitch against the real programs: ovsdb-server and ovs-vswitchd, each test with its own in a
//! temporary directory, and against servers that are none. ovs-vswitchd runs without the kernel's datapath.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a failed step is a failed test"
)]

mod impostors;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kube_ovn::ovs::{Error, Expected, Offload, Ovs, Reader, Removal, Row, Select};
use kube_ovn::types::{ContainerId, IfName};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// For what is to come; a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(work)
}

/// A program that ends with the test.
struct Program(Child);

impl Program {
    fn start(directory: &Path, command: &[&str]) -> Self {
        let (name, args) = command.split_first().unwrap();
        let child = Command::new(name)
            .args(args)
            .env("OVS_RUNDIR", directory)
            .env("OVS_LOGDIR", directory)
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap_or_else(|e| panic!("{name}, of Debian's package openvswitch-switch: {e}")))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(what: &Path) {
    let deadline = soon();
    while !what.exists() {
        assert!(Instant::now() < deadline, "no {}", what.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// ovsdb-server with an empty database and br-int.
struct Node {
    directory: TempDir,
    server: Program,
}

impl Node {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).display().to_string();
        let database = at("conf.db");
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        run("ovsdb-tool", &["create", &database, schema]);
        let server = Program::start(
            directory.path(),
            &[
                "ovsdb-server",
                &database,
                &format!("--remote=punix:{}", at("db.sock")),
                &format!("--unixctl={}", at("ovsdb-server.ctl")),
                "--no-chdir",
                "-vconsole:off",
            ],
        );
        wait_for(&directory.path().join("db.sock"));
        let node = Self { directory, server };
        node.vsctl("init");
        node.vsctl("add-br br-int");
        node
    }

    fn ovs(&self) -> Ovs {
        Ovs::at(self.directory.path())
    }

    /// What ovs-vsctl prints; its arguments are words.
    fn vsctl(&self, args: &str) -> String {
        let database = format!("--db=unix:{}", self.directory.path().join("db.sock").display());
        let mut all = vec![database.as_str(), "--no-wait", "--timeout=20"];
        all.extend(args.split_whitespace());
        run("ovs-vsctl", &all)
    }

    /// Makes a port as kube-ovn-daemon does.
    fn add_port(&self, port: &str, external_ids: &str) {
        let ids: Vec<String> = external_ids
            .split_whitespace()
            .map(|id| format!("external_ids:{id}"))
            .collect();
        self.vsctl(&format!(
            "add-port br-int {port} -- set Interface {port} {}",
            ids.join(" ")
        ));
    }

    /// As kube-ovn-daemon does for a pod with a limited bandwidth; the port may be none.
    fn add_qos(&self, port: Option<&str>, iface_id: &str) {
        let queue = self.vsctl(&format!(
            "create queue other_config:max-rate=1000000 external-ids:iface-id={iface_id}"
        ));
        let qos = self.vsctl(&format!(
            "create qos queues:0={queue} type=linux-htb external-ids:iface-id={iface_id}"
        ));
        if let Some(port) = port {
            self.vsctl(&format!("set port {port} qos={qos}"));
        }
    }

    fn count(&self, table: &str) -> usize {
        self.vsctl(&format!("--bare --columns=_uuid list {table}"))
            .split_whitespace()
            .count()
    }

    fn remove(&self) -> Removal {
        block_on(
            self.ovs()
                .remove_port(&expected(&ContainerId::of_test(), &IfName::of_test()), soon()),
        )
        .unwrap()
    }
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|e| panic!("{program}, of Debian's package openvswitch-switch: {e}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

trait OfTest {
    fn of_test() -> Self;
}

impl OfTest for ContainerId {
    fn of_test() -> Self {
        "0123456789abcdef".parse().unwrap()
    }
}

impl OfTest for IfName {
    fn of_test() -> Self {
        "net1".parse().unwrap()
    }
}

const PORT: &str = "01234567_net1_h";
const IDS: &str = "iface-id=web-0.shop.off.shop.ovn vendor=kube-ovn pod_name=web-0 pod_namespace=shop \
                   pod_netns=/run/netns/a ip=10.16.0.7";

fn expected<'a>(container: &'a ContainerId, ifname: &'a IfName) -> Expected<'a> {
    Expected {
        container,
        ifname,
        namespace: "shop",
        pod: "web-0",
        provider: "off.shop.ovn",
        netns: Path::new("/run/netns/a"),
    }
}

#[test]
fn our_port_is_removed() {
    let node = Node::new();
    assert_eq!(node.remove(), Removal::Absent);
    node.add_port("other_h", "iface-id=other.shop.off.shop.ovn");
    node.add_port(PORT, IDS);
    assert_eq!(node.remove(), Removal::Removed);
    assert_eq!(node.vsctl("list-ports br-int"), "other_h");
    // br-int's own and the other's: nothing hangs about without a port
    assert_eq!((node.count("Interface"), node.count("Port")), (2, 2));
    assert_eq!(node.remove(), Removal::Absent);
}

#[test]
fn a_port_in_another_bridge_is_found() {
    let node = Node::new();
    node.vsctl("add-br br-other");
    node.add_port(PORT, IDS);
    node.vsctl(&format!(
        "del-port {PORT} -- add-port br-other {PORT} -- set Interface {PORT} external_ids:iface-id=web-0.shop.off.shop.ovn"
    ));
    let port = block_on(node.ovs().port(PORT, soon())).unwrap().unwrap();
    assert_eq!(port.bridge, "br-other");
    assert_eq!(node.remove(), Removal::Removed);
    assert_eq!(node.vsctl("list-ports br-other"), "");
}

#[test]
fn the_port_of_another_stays() {
    for (ids, word) in [
        (IDS.replace("/run/netns/a", "/run/netns/b"), "pod_netns"),
        (IDS.replace("web-0.shop", "web-1.shop"), "iface-id"),
        (IDS.replace("kube-ovn", "somebody"), "vendor"),
        ("a=b".to_owned(), "neither"),
    ] {
        let node = Node::new();
        node.add_port(PORT, &ids);
        match node.remove() {
            Removal::NotOurs(why) => assert!(why.contains(word), "{why}"),
            other => panic!("{ids}: {other:?}"),
        }
        assert_eq!(node.vsctl("list-ports br-int"), PORT);
    }
    let node = Node::new();
    node.vsctl(&format!("add-bond br-int {PORT} {PORT} second"));
    node.vsctl(&format!(
        "set Interface {PORT} external_ids:iface-id=web-0.shop.off.shop.ovn"
    ));
    assert!(matches!(node.remove(), Removal::NotOurs(why) if why.contains("bond of 2")));
}

#[test]
fn rows_of_qos_go_with_the_port() {
    let node = Node::new();
    node.add_port(PORT, IDS);
    node.add_qos(Some(PORT), "web-0.shop.off.shop.ovn");
    node.add_port("other_h", "iface-id=other.shop.off.shop.ovn");
    node.add_qos(Some("other_h"), "other.shop.off.shop.ovn");
    assert_eq!(node.remove(), Removal::Removed);
    assert_eq!((node.count("QoS"), node.count("Queue")), (1, 1));
    // the daemon removed the port and died
    node.add_qos(None, "web-0.shop.off.shop.ovn");
    assert_eq!(node.remove(), Removal::Absent);
    assert_eq!((node.count("QoS"), node.count("Queue")), (1, 1));
}

#[test]
fn rows_of_qos_that_are_in_use_stay() {
    let node = Node::new();
    let newer = IDS.replace("/run/netns/a", "/run/netns/b");
    // the ADD of the pod's next sandbox takes the iface-id, and uses the rows that bear it
    node.add_port(PORT, &IDS.replace("iface-id=web-0.shop.off.shop.ovn ", ""));
    node.add_port("fedcba98_net1_h", &newer);
    node.add_qos(Some("fedcba98_net1_h"), "web-0.shop.off.shop.ovn");
    assert_eq!(node.remove(), Removal::Removed);
    assert_eq!(node.vsctl("list-ports br-int"), "fedcba98_net1_h");
    assert_eq!((node.count("QoS"), node.count("Queue")), (1, 1));
    // no iface-id anywhere, but a port that refers to them
    node.vsctl("remove Interface fedcba98_net1_h external_ids iface-id");
    assert_eq!(node.remove(), Removal::Absent);
    assert_eq!((node.count("QoS"), node.count("Queue")), (1, 1));
}

/// Somebody gives the port away all the time: it is removed only while it is ours, and each outcome is a true one.
#[test]
fn a_port_that_changes_hands() {
    let node = Node::new();
    for _ in 0..20 {
        node.add_port(PORT, IDS);
        let removal = std::thread::scope(|scope| {
            let taker = scope.spawn(|| {
                node.vsctl(&format!(
                    "--if-exists set Interface {PORT} external_ids:pod_netns=/run/netns/b"
                ));
            });
            let removal = node.remove();
            taker.join().unwrap();
            removal
        });
        let left = node.vsctl("list-ports br-int");
        match removal {
            Removal::Removed => assert_eq!(left, ""),
            Removal::NotOurs(_) => assert_eq!(left, PORT),
            Removal::Absent => panic!("it was there"),
        }
        node.vsctl(&format!("--if-exists del-port {PORT}"));
    }
}

#[test]
fn questions() {
    let node = Node::new();
    let ovs = node.ovs();
    block_on(async {
        assert!(ovs.has_bridge("br-int", soon()).await.unwrap());
        assert!(!ovs.has_bridge("br-ext", soon()).await.unwrap());
        assert_eq!(ovs.port(PORT, soon()).await.unwrap(), None);
        let unset = Offload {
            hw_offload: None,
            tc_policy: None,
        };
        assert_eq!(ovs.offload(soon()).await.unwrap(), unset);
    });
    node.vsctl("set Open_vSwitch . other_config:hw-offload=true other_config:tc-policy=skip_sw");
    node.add_port(PORT, IDS);
    block_on(async {
        let set = Offload {
            hw_offload: Some("true".to_owned()),
            tc_policy: Some("skip_sw".to_owned()),
        };
        assert_eq!(ovs.offload(soon()).await.unwrap(), set);
        let port = ovs.port(PORT, soon()).await.unwrap().unwrap();
        assert_eq!((port.bridge.as_str(), port.error.as_str()), ("br-int", ""));
        let ids = port.external_ids;
        assert_eq!(ids.get("pod_netns").map(String::as_str), Some("/run/netns/a"));
    });
}

#[test]
fn tables() {
    let node = Node::new();
    node.add_port(PORT, IDS);
    let read = |selects: &[Select<'_>]| block_on(node.ovs().read(selects, soon()));
    let select = |table, columns| Select { table, columns };
    let tables = read(&[
        select("Interface", &["_uuid", "name", "external_ids"]),
        select("Port", &["name", "interfaces"]),
        select("Mirror", &["name"]),
    ]);
    let tables = tables.unwrap();
    let [interfaces, ports, mirrors] = tables.as_slice() else {
        panic!("{tables:?}")
    };
    let named = |row: &&Row| row.text("name") == PORT;
    let interface = interfaces.iter().find(named).unwrap();
    assert_eq!(
        interface.map("external_ids").get("pod_netns").map(String::as_str),
        Some("/run/netns/a")
    );
    assert_eq!(
        ports.iter().find(named).unwrap().uuids("interfaces"),
        [interface.uuid()]
    );
    assert!(mirrors.is_empty());
    assert!(read(&[]).unwrap().is_empty());
    let wrong = read(&[select("Port", &["name"]), select("Pod", &["name"])]).unwrap_err();
    assert!(wrong.to_string().contains("Pod"), "{wrong}");
}

/// As many rows as no node has.
#[test]
fn a_database_with_many_ports() {
    let node = Node::new();
    let ports: Vec<String> = (0..500)
        .map(|n| format!("-- add-port br-int p{n} -- set Interface p{n} external_ids:iface-id=p{n}.shop"))
        .collect();
    node.vsctl(&ports.join(" "));
    node.add_port(PORT, IDS);
    assert_eq!(node.remove(), Removal::Removed);
    assert_eq!(node.count("Port"), 501);
}

#[test]
fn vswitchd_answers_or_not() {
    let node = Node::new();
    let ovs = node.ovs();
    let ask = |patience: Duration| block_on(ovs.vswitchd_version(Instant::now() + patience));
    assert!(matches!(ask(PATIENCE), Err(Error::NoPid { .. })));
    let directory = node.directory.path();
    let vswitchd = Program::start(
        directory,
        &[
            "unshare",
            "--net",
            "ovs-vswitchd",
            &format!("unix:{}", directory.join("db.sock").display()),
            "--enable-dummy=override",
            "--disable-system",
            &format!("--pidfile={}", directory.join("ovs-vswitchd.pid").display()),
            "--no-chdir",
            "-vconsole:off",
        ],
    );
    wait_for(&directory.join("ovs-vswitchd.pid"));
    // it listens a moment later
    let give_up = soon();
    let version = loop {
        match ask(PATIENCE) {
            Err(Error::Unreachable { .. }) if Instant::now() < give_up => std::thread::sleep(Duration::from_millis(20)),
            answer => break answer.unwrap(),
        }
    };
    assert!(version.starts_with("ovs-vswitchd (Open vSwitch) "), "{version}");
    let appctl = |command, arguments| block_on(ovs.appctl(command, arguments, soon()));
    let coverage = appctl("coverage/read-counter", &["bridge_reconfigure"]).unwrap();
    assert!(coverage.trim().parse::<u64>().is_ok(), "{coverage}");
    let refused = appctl("no/such-command", &[]).unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused}");
    let offloads = block_on(ovs.says_it_offloads(soon())).unwrap();
    assert_ne!(
        offloads,
        Some(true),
        "None before Open vSwitch 3.7, and nobody has told this one to"
    );
    let mut commands = Vec::new();
    let overlong = block_on(ovs.appctl_lines("list-commands", &[], soon(), |line| commands.push(line.to_owned())));
    assert_eq!(overlong.unwrap(), 0);
    let all = appctl("list-commands", &[]).unwrap();
    assert_eq!(commands, all.lines().collect::<Vec<_>>());
    assert!(commands.len() > 50, "{commands:?}");
    let refused = block_on(ovs.appctl_lines("dpctl/dump-flows", &["no@such"], soon(), |_| ())).unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused}");
    let pid = Pid::from_raw(i32::try_from(vswitchd.0.id()).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    let error = ask(Duration::from_millis(300)).unwrap_err();
    assert!(matches!(error, Error::NoReply { .. }), "{error}");
    kill(pid, Signal::SIGCONT).unwrap();
    assert_eq!(ask(PATIENCE).unwrap(), version);
    // killed, it leaves pid file and socket
    drop(vswitchd);
    assert!(matches!(ask(PATIENCE), Err(Error::Unreachable { .. })));
}

/// Any table of any database, by a unix socket or TCP; what is no column is refused in the server's words.
#[test]
fn a_database_by_unix_socket_or_tcp() {
    let node = Node::new();
    node.add_port(PORT, IDS);
    let tcp = run(
        "ovs-appctl",
        &[
            "-t",
            &node.directory.path().join("ovsdb-server.ctl").display().to_string(),
            "ovsdb-server/add-remote",
            "ptcp:0:127.0.0.1",
        ],
    );
    assert_eq!(tcp, "");
    let log = run("ss", &["-ltnpH"]);
    let pid = format!("pid={},", node.server.0.id());
    let listening = log.lines().find(|line| line.contains(&pid)).unwrap();
    let address = listening
        .split_whitespace()
        .find(|word| word.starts_with("127.0.0.1:"))
        .unwrap();
    for remote in [
        format!("unix:{}", node.directory.path().join("db.sock").display()),
        format!("tcp:{address}"),
    ] {
        let rows = block_on(async {
            let remote = remote.parse().unwrap();
            let mut reader = Reader::open(remote, "Open_vSwitch", soon()).await?;
            let select = |columns| Select {
                table: "Interface",
                columns,
            };
            let mut read = reader.read(&[select(&["name", "external_ids"])]).await?;
            let error = reader.read(&[select(&["no_such_column"])]).await.unwrap_err();
            assert!(error.to_string().contains("no_such_column"), "{error}");
            let mut rows = read.remove(0);
            rows.retain(|row| row.text("name") == PORT);
            Ok::<_, Error>(rows)
        });
        let rows = rows.unwrap();
        let ids = rows.first().unwrap().map("external_ids");
        assert_eq!(ids.get("pod_name").map(String::as_str), Some("web-0"), "{remote}");
    }
    let nobody = block_on(Reader::open(
        "tcp:127.0.0.1:1".parse().unwrap(),
        "OVN_Northbound",
        soon(),
    ));
    let error = nobody.err().unwrap().to_string();
    assert!(
        error.starts_with("OVN's database server can't be reached at tcp:127.0.0.1:1 ("),
        "{error}"
    );
}
