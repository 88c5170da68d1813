//! What [`net::Stack`] says of the kernel, on links of namespaces of the test's own. Needs root.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is a failed test"
)]

#[path = "support/pod.rs"]
mod pod;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use kube_ovn::net::{self, Error, IPV6_SYSCTLS, Link, LinkChange, Netlink, Netns, Stack};
use kube_ovn::types::{IfName, Mac};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use pod::Pod;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

/// A program in the namespace that this thread is in.
fn run(words: &str) {
    let words: Vec<&str> = words.split(' ').collect();
    assert!(
        Command::new(words[0]).args(&words[1..]).status().unwrap().success(),
        "{words:?}"
    );
}

/// On a thread that has a namespace of its own, with the veth pair `va` and `vb`.
fn apart(test: impl AsyncFnOnce(Netlink, Link) + Send) {
    let on_a_thread = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        run("ip link set lo up");
        run("ip link add va type veth peer name vb");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let stack = Netlink::own().unwrap();
            let link = stack.link_named(&name("va")).await.unwrap().unwrap();
            test(stack, link).await;
        });
    };
    std::thread::scope(|scope| scope.spawn(on_a_thread).join().unwrap());
}

fn errno<T: std::fmt::Debug>(refused: Result<T, Error>) -> Errno {
    match refused.unwrap_err() {
        Error::Kernel { errno, .. } => errno,
        other => panic!("{other}"),
    }
}

#[test]
fn a_link_is_changed_and_is_as_it_was_told() {
    apart(async |stack, link| {
        let found = (
            link.software,
            link.up,
            link.carrier,
            link.mtu,
            link.alias.as_str(),
            &link.parent,
        );
        assert_eq!(found, (true, false, false, 1500, "", &None));
        let promiscuous = 0x100; // IFF_PROMISC
        let change = LinkChange {
            mac: Some(MAC),
            mtu: Some(1400),
            up: Some(true),
            alias: Some("an alias".to_owned()),
            txqlen: Some(77),
            flags: Some(link.flags | promiscuous),
            ..LinkChange::NONE
        };
        stack.change(link.index, &change).await.unwrap();
        stack.add_alt_name(link.index, "an-alternative-name").await.unwrap();
        run("ip link set vb up");
        let now = stack.link(link.index).await.unwrap().unwrap();
        let expected = Link {
            mac: Some(MAC),
            mtu: 1400,
            up: true,
            carrier: true,
            alias: "an alias".to_owned(),
            txqlen: 77,
            flags: link.flags | promiscuous,
            alt_names: vec!["an-alternative-name".to_owned()],
            ..link.clone()
        };
        assert_eq!(now, expected);
        // a name that it has as an alternative, while it is up
        stack.add_alt_name(link.index, "eth0").await.unwrap();
        net::rename(&stack, link.index, &name("eth0")).await.unwrap();
        stack.drop_alt_name(link.index, "an-alternative-name").await.unwrap();
        let back = LinkChange {
            alias: Some(String::new()),
            flags: Some(link.flags),
            ..LinkChange::NONE
        };
        stack.change(link.index, &back).await.unwrap();
        let now = stack.link_named(&name("eth0")).await.unwrap().unwrap();
        assert_eq!((now.index, now.up, now.flags), (link.index, false, link.flags));
        assert_eq!((now.alias.as_str(), now.alt_names.len()), ("", 0));
    });
}

#[test]
fn what_the_kernel_refuses_it_says_in_its_words() {
    apart(async |stack, link| {
        let change = LinkChange {
            mtu: Some(70_000),
            ..LinkChange::NONE
        };
        let refused = stack.change(link.index, &change).await.unwrap_err();
        let words = format!(
            "set MTU 70000 of link with index {}: Invalid argument (mtu greater than device maximum)",
            link.index
        );
        assert_eq!(refused.to_string(), words);
        // a link that is not there
        let nobody = 999;
        assert_eq!(stack.link(nobody).await.unwrap(), None);
        assert_eq!(stack.link_named(&name("nobody")).await.unwrap(), None);
        assert!(stack.change(nobody, &change).await.unwrap_err().is_gone());
        assert!(stack.delete(nobody).await.unwrap_err().is_gone());
        assert!(net::rename(&stack, nobody, &name("other")).await.unwrap_err().is_gone());
        // a veth has no VFs
        assert_eq!(stack.vf_mac(link.index, 0).await.unwrap(), None);
        assert_eq!(errno(stack.set_vf_mac(link.index, 0, MAC).await), Errno::EOPNOTSUPP);
        // a name of somebody else's, a gateway that is not to be reached
        let taken = LinkChange {
            name: Some(name("vb")),
            ..LinkChange::NONE
        };
        assert_eq!(errno(stack.change(link.index, &taken).await), Errno::EEXIST);
        run("ip link set va up");
        let beyond = stack
            .add_route(link.index, "0.0.0.0/0".parse().unwrap(), "192.0.2.1".parse().ok())
            .await;
        assert_eq!(errno(beyond), Errno::ENETUNREACH);
        assert!(stack.open(Path::new("/nowhere")).is_err());
        assert!(stack.open(Path::new("/etc/passwd")).is_err());
    });
}

#[test]
fn a_link_is_moved_and_comes_back() {
    let pod = Pod::new();
    apart(async |stack, link| {
        let path = pod.netns();
        let inside = stack.open(Path::new(&path)).unwrap();
        assert_ne!(inside.id(), stack.id());
        stack.move_to(link.index, &inside, &name("eth0")).await.unwrap();
        assert_eq!(stack.link_named(&name("va")).await.unwrap(), None);
        let moved = inside.link_named(&name("eth0")).await.unwrap().unwrap();
        assert_eq!((moved.mac, moved.up), (link.mac, false));
        assert_eq!(inside.links().await.unwrap().len(), 2); // and lo
        // where it comes from the name that it has is taken, which is nothing to a link that gets another
        run("ip link add eth0 type veth peer name eth1");
        inside.move_to(moved.index, &stack, &name("va")).await.unwrap();
        let back = stack.link_named(&name("va")).await.unwrap().unwrap();
        assert_eq!(back.mac, link.mac);
        stack.delete(back.index).await.unwrap();
        assert_eq!(stack.link_named(&name("vb")).await.unwrap(), None);
    });
}

/// What [`Stack::move_to`] says of EEXIST.
#[test]
fn a_name_that_is_taken_where_it_goes() {
    let pod = Pod::new();
    pod.ip("link add eth0 type veth peer name other");
    apart(async |stack, link| {
        let path = pod.netns();
        let inside = stack.open(Path::new(&path)).unwrap();
        let is_there = async |stack: &Netlink| stack.link_named(&name("va")).await.unwrap().map(|link| link.index);
        // only the new one: it has moved, under its old name
        assert_eq!(
            errno(stack.move_to(link.index, &inside, &name("eth0")).await),
            Errno::EEXIST
        );
        assert_eq!(is_there(&stack).await, None);
        let moved = is_there(&inside).await.unwrap();
        inside.move_to(moved, &stack, &name("va")).await.unwrap();
        let index = is_there(&stack).await.unwrap();
        // an alternative one, or both: it has not
        stack.add_alt_name(index, "other").await.unwrap();
        assert_eq!(errno(stack.move_to(index, &inside, &name("free")).await), Errno::EEXIST);
        assert!(is_there(&stack).await.is_some());
        stack.drop_alt_name(index, "other").await.unwrap();
        pod.ip("link set other name va");
        assert_eq!(errno(stack.move_to(index, &inside, &name("eth0")).await), Errno::EEXIST);
        assert!(is_there(&stack).await.is_some());
    });
}

#[test]
fn addresses_and_routes() {
    apart(async |stack, link| {
        run("ip link set va up");
        run("ip link set vb up");
        run("ip address add 192.0.2.9/24 dev vb");
        let address = "10.16.0.5/16".parse().unwrap();
        let (gateway, other) = ("10.16.0.1".parse::<IpAddr>().unwrap(), "10.99.0.0/16".parse().unwrap());
        let everywhere = "0.0.0.0/0".parse().unwrap();
        for _ in 0..2 {
            // what is there already is no error
            stack.add_address(link.index, address).await.unwrap();
            stack.add_route(link.index, everywhere, Some(gateway)).await.unwrap();
            stack.add_route(link.index, other, None).await.unwrap();
        }
        let addresses = stack.addresses(link.index).await.unwrap();
        let four: Vec<_> = addresses.iter().filter(|address| address.ip.is_ipv4()).collect();
        assert!(
            four.len() == 1 && four[0].ip == address && four[0].permanent,
            "{addresses:?}"
        );
        let mut routes = stack.routes(link.index).await.unwrap();
        routes.retain(|(destination, _)| destination.is_none_or(|destination| destination.is_ipv4()));
        routes.sort();
        let own = Some("10.16.0.0/16".parse().unwrap());
        assert_eq!(routes, [(None, Some(gateway)), (own, None), (Some(other), None)]);
        let six = "fd00::5".parse().unwrap();
        stack.announce(&name("va"), MAC, &[address.ip(), six]).unwrap();
        assert!(stack.announce(&name("nobody"), MAC, &[six]).is_err());
    });
}

#[test]
fn links_with_a_discipline_for_what_comes_in() {
    apart(async |stack, link| {
        assert_eq!(stack.links_with_ingress().await.unwrap(), BTreeSet::new());
        run("tc qdisc add dev va clsact");
        run("tc qdisc add dev lo ingress");
        assert_eq!(
            stack.links_with_ingress().await.unwrap(),
            BTreeSet::from([1, link.index])
        );
    });
}

#[test]
fn a_visit_ends_where_it_began() {
    let pod = Pod::new();
    pod.ip("link add only-here type veth peer name peer");
    pod.ip("link property add dev only-here altname alternative");
    apart(async |stack, _| {
        let path = pod.netns();
        let inside = stack.open(Path::new(&path)).unwrap();
        let sees = |text: &str| {
            let name = name(text);
            (
                stack.has_interface(&name).unwrap(),
                inside.has_interface(&name).unwrap(),
            )
        };
        assert_eq!(sees("va"), (true, false));
        assert_eq!(sees("only-here"), (false, true));
        assert_eq!(sees("alternative"), (false, true));
        assert!(inside.link_named(&name("peer")).await.unwrap().is_some());
        assert_eq!(Netns::own().unwrap().id(), stack.id());
    });
}

#[test]
fn files_of_a_namespace() {
    let pod = Pod::new();
    pod.ip("link add only-here type veth peer name peer");
    apart(async |stack, _| {
        let path = pod.netns();
        let inside = stack.open(Path::new(&path)).unwrap();
        let sees = |root: &Path| root.join("class/net/only-here").exists();
        assert_eq!(
            (inside.with_sysfs(sees).unwrap(), stack.with_sysfs(sees).unwrap()),
            (true, false)
        );
        inside.set_sysctls(&IPV6_SYSCTLS).unwrap();
        assert_eq!(pod.sysctl("ipv6/conf/default/accept_ra"), "0");
        inside.set_sysctls(&[("no/such/key", "1")]).unwrap();
        assert!(
            inside
                .set_sysctls(&[("ipv6/conf/default/accept_ra", "no number")])
                .is_err()
        );
    });
}
