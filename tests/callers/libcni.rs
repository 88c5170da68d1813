//! libcni itself, with its cache: it is what podman and containerd call plugins with.

use serde_json::{Value, json};

use crate::runtimes::conflist;
use crate::{assert_gone, get, host};

/// The driver with these words; what it printed, or its error.
fn driver(words: &str) -> Result<String, String> {
    host().attempt(&format!("/opt/cni/bin/libcni-driver {words}"))
}

/// A sandbox whose port 80 has a page.
fn sandbox(name: &str) -> String {
    let ip = host().annotate(&format!("default/{name}"), "ovn", &json!({}));
    host().sh(&format!(
        "ip netns add {name}; ip -n {name} link set lo up
         nohup ip netns exec {name} busybox httpd -f -p 80 -h /tmp/image/www > /dev/null 2>&1 &"
    ));
    ip
}

#[test]
fn add_check_del_and_a_port_that_is_mapped() {
    for (i, version) in ["0.3.1", "0.4.0", "1.0.0"].into_iter().enumerate() {
        let (name, container) = (format!("libcni{i}"), format!("libcni{i}0123456789"));
        let (port, network) = (20_080 + u16::try_from(i).unwrap(), format!("net-{i}"));
        std::fs::create_dir_all(host().path("/etc/cni/net.d")).unwrap();
        let file = host().path(&format!("/etc/cni/net.d/{network}.conflist"));
        std::fs::write(file, conflist(&network, version, "kube-ovn", &json!({})).to_string()).unwrap();
        let ip = sandbox(&name);
        let call = |verb: &str| driver(&format!("{verb} {network} {container} /run/netns/{name} {name} {port}"));
        // CHECK of portmap 1.1.1 looks for the rules of each address in the tables of both families, so it is told of no port
        let check = || driver(&format!("check {network} {container} /run/netns/{name} {name}"));
        let result: Value = serde_json::from_str(&call("add").unwrap()).unwrap();
        // the result of the whole list, so: portmap's, to which ours was prevResult
        assert_eq!(result["ips"][0]["address"], format!("{ip}/16"), "{result}");
        assert_eq!(get(port).unwrap(), "a pod", "{version}");
        if version == "0.3.1" {
            let why = check().unwrap_err();
            assert!(why.contains("\"0.3.1\" does not support the CHECK"), "{why}");
        } else {
            check().unwrap();
            host().sh(&format!("ip -n {name} link set eth0 down"));
            assert!(check().unwrap_err().contains("is not as ADD left it: it is down"));
        }
        let again = call("add").unwrap_err();
        assert!(again.contains("has an interface eth0 already"), "{again}");
        // libcni calls the plugins backwards, with the cached result, and again without one
        call("del").unwrap();
        call("del").unwrap();
        assert!(get(port).is_err());
        assert_gone(&container);
        let cached = host().sh(&format!("ls -A /var/lib/cni/results | grep {container} || true"));
        assert_eq!(cached, "", "libcni's cache");
        // its namespace has gone before DEL comes
        let container = format!("again{i}0123456789");
        let call = |verb: &str, netns: &str| driver(&format!("{verb} {network} {container} '{netns}' {name}"));
        call("add", &format!("/run/netns/{name}")).unwrap();
        host().sh(&format!("ip netns pids {name} | xargs kill; ip netns del {name}"));
        call("del", "").unwrap();
        assert_gone(&container);
    }
}

#[test]
fn an_error_reaches_the_caller_word_by_word() {
    let file = host().path("/etc/cni/net.d/down.conflist");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let down = conflist(
        "down",
        "1.0.0",
        "kube-ovn",
        &json!({"server_socket": "/run/openvswitch/nobody.sock"}),
    );
    std::fs::write(file, down.to_string()).unwrap();
    host().sh("ip netns add down");
    let why = driver("add down down0123456789 /run/netns/down down").unwrap_err();
    assert!(
        why.contains("plugin type=\"kube-ovn\" failed (add)")
            && why.contains("kube-ovn-daemon can't be reached at /run/openvswitch/nobody.sock"),
        "{why}"
    );
    assert_gone("down0123456789");
}
