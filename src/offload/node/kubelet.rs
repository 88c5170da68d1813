//! By which addresses kubelet of this node is reached and reaches the API server: who takes those away cuts the node off.
//!
//! `--node-ip` says it; else the sockets do that kubelet has: what it is connected by, and what it listens on. All of it is read
//! from /proc, since kubelet may run with any configuration, or in a process of K3s.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// As the kernel has it: at most 15 bytes.
const NAMES: [&str; 4] = ["kubelet", "k3s-server", "k3s-agent", "k0s"];
/// Of a file in /proc.
const MAX_FILE: u64 = 4 * 1024 * 1024;
const ESTABLISHED: &str = "01";
const LISTEN: &str = "0A";

/// The addresses, each with how it is known.
pub(super) fn addresses(proc: &Path) -> Vec<(IpAddr, &'static str)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
        let process = entry.path();
        let is_pid = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()));
        let name = || read(&process.join("comm")).unwrap_or_default();
        if is_pid && NAMES.contains(&String::from_utf8_lossy(&name()).trim_end()) {
            of_process(&process, &mut found);
        }
    }
    found.sort_unstable();
    found.dedup_by_key(|(address, _)| *address);
    found
}

fn of_process(process: &Path, found: &mut Vec<(IpAddr, &'static str)>) {
    let command = read(&process.join("cmdline")).unwrap_or_default();
    let told = node_ips(&command);
    if !told.is_empty() {
        found.extend(told.into_iter().map(|address| (address, "its --node-ip")));
        return;
    }
    let sockets = sockets(&process.join("fd"));
    for table in ["net/tcp", "net/tcp6"] {
        let text = read(&process.join(table)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        found.extend(text.lines().filter_map(|line| local(line, &sockets)));
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The addresses of `--node-ip`, of which there can be two with a comma.
fn node_ips(command: &[u8]) -> Vec<IpAddr> {
    let words: Vec<_> = command.split(|b| *b == 0).map(String::from_utf8_lossy).collect();
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let value = match word.strip_prefix("--node-ip") {
            Some("") => words.get(at + 1).map_or("", |value| value),
            Some(rest) => rest.strip_prefix('=').unwrap_or(""),
            None => "",
        };
        // 0.0.0.0 and :: mean that kubelet is to choose one
        found.extend(
            value
                .split(',')
                .filter_map(|text| text.trim().parse().ok())
                .filter(|ip: &IpAddr| !ip.is_unspecified()),
        );
    }
    found
}

/// The inodes of a process's sockets.
fn sockets(directory: &Path) -> HashSet<String> {
    let links = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok());
    let inode = |link: std::path::PathBuf| {
        let text = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned();
        Some(text)
    };
    links.filter_map(inode).collect()
}

/// The local address of a line of /proc/PID/net/tcp or tcp6, if it is of one of these sockets and says something.
fn local(line: &str, sockets: &HashSet<String>) -> Option<(IpAddr, &'static str)> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
    let how = match *state {
        ESTABLISHED => "a connection of it",
        LISTEN => "it listens there",
        _ => return None,
    };
    let address = address(local.split(':').next()?)?;
    (sockets.contains(*inode) && !address.is_loopback() && !address.is_unspecified()).then_some((address, how))
}

/// The kernel prints the 32-bit words of an address as they lie in memory.
fn address(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for at in (0..hex.len()).step_by(8) {
        bytes.extend(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(Ipv4Addr::from(four).into());
    }
    let six = Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?);
    Some(six.to_ipv4_mapped().map_or(six.into(), IpAddr::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// 192.0.2.1:40000 to 192.0.2.9:6443, loopback, a listener on any address, `2001:db8::1`, and a socket of somebody else.
    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 010200C0:9C40 090200C0:192B 01 00000000:00000000 00:00000000 00000000     0        0 11 1
   1: 0100007F:2808 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1
   2: 030200C0:9C40 090200C0:192B 01 00000000:00000000 00:00000000 00000000     0        0 99 1
   3: 040200C0:9C40 090200C0:192B 06 00000000:00000000 00:00000000 00000000     0        0 11 1
";
    const TCP6: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:280A 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 13 1
   1: B80D0120000000000000000001000000:280A 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 14 1
   2: 0000000000000000FFFF0000020200C0:280A 0000000000000000FFFF0000090200C0:D431 01 00000000:00000000 00:00000000 00000000 0 0 15 1
";

    fn process(proc: &Path, pid: &str, comm: &str, command: &str) {
        let directory = proc.join(pid);
        fs::create_dir_all(directory.join("fd")).unwrap();
        fs::create_dir_all(directory.join("net")).unwrap();
        fs::write(directory.join("comm"), format!("{comm}\n")).unwrap();
        fs::write(directory.join("cmdline"), command.replace(' ', "\0")).unwrap();
        fs::write(directory.join("net/tcp"), TCP).unwrap();
        fs::write(directory.join("net/tcp6"), TCP6).unwrap();
        for (number, inode) in [11, 12, 13, 14, 15].iter().enumerate() {
            symlink(format!("socket:[{inode}]"), directory.join(format!("fd/{number}"))).unwrap();
        }
        symlink("/dev/null", directory.join("fd/9")).unwrap();
    }

    fn found(comm: &str, command: &str) -> Vec<String> {
        let proc = tempfile::tempdir().unwrap();
        process(proc.path(), "7", comm, command);
        process(proc.path(), "8", "sshd", "sshd --node-ip=198.51.100.1");
        addresses(proc.path())
            .into_iter()
            .map(|(address, how)| format!("{address}: {how}"))
            .collect()
    }

    #[test]
    fn by_the_flag() {
        assert_eq!(
            found("kubelet", "/usr/bin/kubelet --v=2 --node-ip=192.0.2.7,2001:db8::7"),
            ["192.0.2.7: its --node-ip", "2001:db8::7: its --node-ip"]
        );
        assert_eq!(
            found("k3s-agent", "k3s agent --node-ip 192.0.2.7"),
            ["192.0.2.7: its --node-ip"]
        );
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn by_its_sockets() {
        let expected = [
            "192.0.2.1: a connection of it",
            "192.0.2.2: a connection of it",
            "2001:db8::1: it listens there",
        ];
        assert_eq!(found("kubelet", "kubelet"), expected);
        assert_eq!(
            found("kubelet", "kubelet --node-ip=::"),
            expected,
            "kubelet chooses itself"
        );
    }

    #[test]
    fn no_kubelet() {
        assert!(found("bash", "kubelet --node-ip=192.0.2.7").is_empty());
        assert!(addresses(Path::new("/nonexistent")).is_empty());
    }
}
