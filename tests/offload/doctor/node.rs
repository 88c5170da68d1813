//! A node in a directory: laid out from tests/fixtures/doctor, broken by a test, put right by what `doctor` printed.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The parts of a whole node, in tests/fixtures/doctor.
const PARTS: [&str; 4] = ["kernel", "nic", "kubernetes", "plugin"];

/// What Open vSwitch is told on a whole node: offload, tunnels, and the port of a pod with the first VF.
const OVS: [&str; 4] = [
    "init",
    "set Open_vSwitch . other_config:hw-offload=true external_ids:ovn-encap-type=geneve external_ids:ovn-encap-ip=192.0.2.1",
    "add-br br-int",
    "add-port br-int p0_0 -- set Interface p0_0 external_ids:iface-id=web.default external_ids:vendor=kube-ovn \
     external_ids:pod_name=web external_ids:pod_namespace=default external_ids:pod_netns=/run/netns/pod1",
];

/// The tools that remedies call, as they are on a fixture: they change its files. `$root` is its directory.
const PROGRAMS: [(&str, &str); 10] = [
    (
        "ovn-nbctl",
        r#"exec /usr/bin/ovn-nbctl --timeout=20 --db="unix:$root/run/ovn/ovnnb_db.sock" "$@""#,
    ),
    // general reload
    (
        "nmcli",
        r#"grep -o 'p0[_v]*[0-9]' "$root"/etc/NetworkManager/conf.d/* | while read -r name; do
index=$(cat "$root/sys/class/net/$name/ifindex")
echo managed=false > "$root/run/NetworkManager/devices/$index"
done"#,
    ),
    // this project's own tool, in the node's directory
    (
        "kube-ovn-offload",
        r#"exec "$KUBE_OVN_OFFLOAD" "$@" --bin-dir "$root/opt/cni/bin" --conf-dir "$root/etc/cni/net.d""#,
    ),
    (
        "ovs-vsctl",
        r#"exec /usr/bin/ovs-vsctl --timeout=20 --db="unix:$root/run/openvswitch/db.sock" "$@""#,
    ),
    // ovs-vswitchd that has been restarted knows the keys that were set
    (
        "ovs-ctl",
        r#"printf 'ingress p0_0\ningress p0_1\n' >> "$root/recorded.txt""#,
    ),
    // dev eswitch set pci/ADDRESS mode MODE; dev param set pci/ADDRESS name NAME value VALUE cmode runtime
    (
        "devlink",
        r#"case $2 in
eswitch) sed -i "s|^devlink $4 eswitch .*|devlink $4 eswitch $6|" "$root/recorded.txt" ;;
param) sed -i "s|^steering $4 .*|steering $4 $8|" "$root/recorded.txt" ;;
esac"#,
    ),
    // -K NETDEV hw-tc-offload on
    (
        "ethtool",
        r#"sed -i "s|^hw-tc-offload $2 .*|hw-tc-offload $2 $4|" "$root/recorded.txt""#,
    ),
    // link set NETDEV up|nomaster|mtu N
    (
        "ip",
        r#"case $4 in
up) echo 0x1003 > "$root/sys/class/net/$3/flags" ;;
mtu) echo "$5" > "$root/sys/class/net/$3/mtu" ;;
nomaster) rm "$root/sys/class/net/$3/master" ;;
esac"#,
    ),
    (
        "modprobe",
        r#"[ "$1" = -a ] && shift; for module; do echo "$module 16384 0 - Live 0x0" >> "$root/proc/modules"; done"#,
    ),
    // the new pod's daemon listens again: the test waits for this file, and listens
    ("kubectl", r#"echo "$*" >> "$root/kubectl.log""#),
];

pub(crate) struct Node {
    dir: TempDir,
    /// kube-ovn-daemon, as far as it is looked at.
    daemon: Option<UnixListener>,
    /// ovsdb-server and ovs-vswitchd, where they run.
    servers: Vec<Server>,
}

/// A program that ends with the test.
pub(crate) struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a check found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) verdict: String,
    pub(crate) evidence: String,
    pub(crate) remedy: Vec<String>,
    pub(crate) note: String,
}

impl Node {
    /// One on which everything is well.
    pub(crate) fn healthy() -> Self {
        let mut node = Self {
            dir: tempfile::tempdir().unwrap(),
            daemon: None,
            servers: Vec::new(),
        };
        for part in PARTS {
            let file = format!("{}/tests/fixtures/doctor/{part}.txt", env!("CARGO_MANIFEST_DIR"));
            for line in fs::read_to_string(file).unwrap().lines() {
                node.lay(line);
            }
        }
        for (name, script) in PROGRAMS {
            let file = node.make(&format!("/programs/{name}"));
            let script = format!("#!/bin/sh\nset -e\nroot={}\n{script}\n", node.root().display());
            fs::write(&file, script).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mark = format!("\u{1}kube-ovn-offload's plugin {}\u{1}", env!("CARGO_PKG_VERSION"));
        fs::write(node.make("/opt/cni/bin/kube-ovn"), mark).unwrap();
        node.daemon_listens();
        node
    }

    /// The same with Open vSwitch: a database of its own, and an ovs-vswitchd that knows of no database, so that it changes nothing.
    pub(crate) fn with_ovs() -> Self {
        let mut node = Self::healthy();
        node.lay("/run/openvswitch/");
        node.ovsdb_server_starts();
        node.vswitchd_starts();
        for command in OVS {
            node.vsctl(command);
        }
        node
    }

    /// The same with OVN: a northbound database with a logical switch.
    pub(crate) fn with_ovn() -> Self {
        let mut node = Self::with_ovs();
        let database = node.make("/run/ovn/ovnnb_db.db").display().to_string();
        run(Command::new("ovsdb-tool").args(["create", &database, "/usr/share/ovn/ovn-nb.ovsschema"]));
        let socket = node.path("/run/ovn/ovnnb_db.sock");
        let remote = format!("--remote=punix:{}", socket.display());
        let unixctl = format!("--unixctl={}", node.path("/run/ovn/ovnnb_db.ctl").display());
        let command = [
            "ovsdb-server",
            &database,
            &remote,
            &unixctl,
            "--no-chdir",
            "-vconsole:off",
        ];
        node.start(&command, |_| socket.clone());
        node.nbctl("init -- ls-add blue");
        node
    }

    /// Words for ovn-nbctl.
    pub(crate) fn nbctl(&self, words: &str) {
        self.shell(&[format!("ovn-nbctl {words}")]);
    }

    pub(crate) fn ovsdb_server_starts(&mut self) {
        let database = self.path("/run/openvswitch/conf.db").display().to_string();
        if !Path::new(&database).exists() {
            let schema = "/usr/share/openvswitch/vswitch.ovsschema";
            run(Command::new("ovsdb-tool").args(["create", &database, schema]));
        }
        let socket = self.path("/run/openvswitch/db.sock");
        let remote = format!("--remote=punix:{}", socket.display());
        self.start(
            &["ovsdb-server", &database, &remote, "--no-chdir", "-vconsole:off"],
            |_| socket.clone(),
        );
    }

    pub(crate) fn vswitchd_starts(&mut self) {
        let pid = self.path("/run/openvswitch/ovs-vswitchd.pid");
        let (nowhere, pidfile) = ("unix:/nonexistent/db.sock", format!("--pidfile={}", pid.display()));
        let command = [
            "ovs-vswitchd",
            nowhere,
            &pidfile,
            "--no-chdir",
            "--disable-system",
            "-vconsole:off",
        ];
        self.start(&command, |child| {
            pid.with_file_name(format!("ovs-vswitchd.{}.ctl", child.id()))
        });
    }

    /// Starts a server, and waits until it listens.
    fn start(&mut self, command: &[&str], socket: impl Fn(&Child) -> PathBuf) {
        let child = Command::new(command[0])
            .args(&command[1..])
            .env("OVS_RUNDIR", self.path("/run/openvswitch"))
            .env("OVS_LOGDIR", self.root())
            .stderr(Stdio::null())
            .spawn();
        let child = child.unwrap_or_else(|e| panic!("{}, of Debian's package openvswitch-switch: {e}", command[0]));
        let socket = socket(&child);
        self.servers.push(Server(child));
        let deadline = Instant::now() + Duration::from_secs(60);
        // the file is there before anybody listens
        while UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < deadline, "nobody listens at {}", socket.display());
            sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn servers_end(&mut self) {
        self.servers.clear();
    }

    /// Words for ovs-vsctl.
    pub(crate) fn vsctl(&self, words: &str) {
        self.shell(&[format!("ovs-vsctl --no-wait {words}")]);
    }

    pub(crate) fn daemon_listens(&mut self) {
        let socket = self.make("/run/openvswitch/kube-ovn-daemon.sock");
        let _ = fs::remove_file(&socket);
        self.daemon = Some(UnixListener::bind(socket).unwrap());
    }

    pub(crate) fn daemon_ends(&mut self) {
        self.daemon = None;
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path.strip_prefix('/').unwrap())
    }

    pub(crate) fn make(&self, path: &str) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// One line of the notation in tests/fixtures/doctor/README.md.
    pub(crate) fn lay(&self, line: &str) {
        if !line.starts_with('/') {
            return;
        }
        if let Some((path, target)) = line.split_once(" -> ") {
            symlink(target, self.make(path)).unwrap();
        } else if let Some((path, text)) = line.split_once(" = ") {
            fs::write(self.make(path), format!("{text}\n")).unwrap();
        } else if let Some((path, text)) = line.split_once(" : ") {
            let mut options = OpenOptions::new();
            let mut file = options.create(true).append(true).open(self.make(path)).unwrap();
            writeln!(file, "{text}").unwrap();
        } else {
            fs::create_dir_all(self.make(line)).unwrap();
        }
    }

    /// Puts a file's text in place of another.
    pub(crate) fn replace(&self, path: &str, from: &str, to: &str) {
        let path = self.path(path);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{}: {text}", path.display());
        fs::write(path, text.replace(from, to)).unwrap();
    }

    /// Takes a file or a directory away.
    pub(crate) fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    /// What one check says, and the tool's exit status.
    pub(crate) fn look(&self, check: &str) -> (Vec<Finding>, i32) {
        let output = crate::tool(&["doctor", "--output", "json", "--only", check, "--root"])
            .arg(self.root())
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let findings = report["findings"].as_array().unwrap().iter().map(|finding| {
            assert_eq!(finding["check"], check);
            Finding {
                verdict: text(&finding["verdict"]),
                evidence: text(&finding["evidence"]),
                remedy: finding["remedy"].as_array().unwrap().iter().map(text).collect(),
                note: text(&finding["note"]),
            }
        });
        (findings.collect(), output.status.code().unwrap())
    }

    /// Sees that a check says this of one thing: a verdict, and a part of the evidence.
    pub(crate) fn says(&self, check: &str, verdict: &str, evidence: &str) -> Finding {
        let (findings, status) = self.look(check);
        let expected = match verdict {
            "problem" => 1,
            "unknown" => 4,
            _ => 0,
        };
        assert_eq!(status, expected, "{check}: {findings:?}");
        let is_it = |finding: &&Finding| finding.verdict == verdict && finding.evidence.contains(evidence);
        let found = findings.iter().position(|finding| is_it(&finding));
        let Some(found) = found else {
            panic!("{check} should say {verdict}: {evidence}; it says {findings:#?}")
        };
        findings.into_iter().nth(found).unwrap()
    }

    /// Sees that a check says this, does what it prints, and sees that all is well then.
    pub(crate) fn heals(&self, check: &str, verdict: &str, evidence: &str, remedy: &[&str]) {
        let finding = self.says(check, verdict, evidence);
        assert_eq!(finding.remedy, remedy, "{check}");
        self.shell(&finding.remedy);
        self.is_well(check);
    }

    /// Sees that all that a check finds is well.
    pub(crate) fn is_well(&self, check: &str) {
        let (findings, status) = self.look(check);
        assert!(
            status == 0 && findings.iter().all(|finding| finding.verdict == "ok") && !findings.is_empty(),
            "{check}: {findings:#?}"
        );
    }

    /// Runs lines for a shell on this node: what is below one of its directories is changed there, and the programs are its own.
    pub(crate) fn shell(&self, lines: &[String]) {
        let root = self.root().display().to_string();
        let path = format!("{root}/programs:{}", std::env::var("PATH").unwrap());
        for line in lines {
            let mut line = line.replace("/usr/share/openvswitch/scripts/", "");
            for directory in ["/sys/", "/proc/", "/etc/", "/run/", "/opt/", "/var/"] {
                line = line.replace(&format!(" {directory}"), &format!(" {root}{directory}"));
            }
            let output = Command::new("sh")
                .args(["-c", &line])
                .env("PATH", &path)
                .env("KUBE_OVN_OFFLOAD", env!("CARGO_BIN_EXE_kube-ovn-offload"))
                .output()
                .unwrap();
            assert!(output.status.success(), "{line}: {output:?}");
        }
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}
