use super::*;

fn read(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/results/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn ip(address: &str, gateway: &str) -> Ip {
    Ip {
        address: address.parse().unwrap(),
        gateway: gateway.parse().ok(),
        interface: 0,
    }
}

fn route(dst: &str, gw: &str) -> Route {
    Route {
        dst: dst.parse().unwrap(),
        gw: gw.parse().ok(),
    }
}

fn pod_interface(name: &str) -> Interface {
    Interface {
        name: name.into(),
        mac: "00:00:00:AA:BB:CC".into(),
        mtu: 1400,
        sandbox: "/run/netns/pod1".into(),
        pci_id: String::new(),
    }
}

/// The outcomes that the goldens of stock were made from.
fn stock(case: &str) -> Outcome {
    let stock = |interface: Interface, ips: Vec<Ip>, routes: Vec<Route>, dns: Dns| Outcome {
        interfaces: vec![interface],
        ips,
        routes,
        dns,
        as_stock: true,
    };
    match case {
        "seed" => stock(
            pod_interface("eth0"),
            vec![ip("10.16.0.5/16", "10.16.0.1")],
            vec![route("0.0.0.0/0", "10.16.0.1")],
            Dns::default(),
        ),
        "dual" => stock(
            Interface {
                sandbox: "/var/run/netns/cni-<a&b>".into(),
                ..pod_interface("eth0")
            },
            vec![
                ip("fd00:10:16::5/64", "fd00:10:16::1"),
                ip("10.16.0.5/16", "10.16.0.1"),
                ip("10.16.0.6/16", ""),
            ],
            vec![
                route("::/0", "fd00:10:16::1"),
                route("10.96.0.1/12", ""),
                route("0.0.0.0/0", "10.16.0.1"),
            ],
            Dns {
                nameservers: vec!["10.96.0.10".into()],
                domain: "cluster.local".into(),
                search: vec!["a.svc".into()],
                options: vec!["ndots:5".into()],
            },
        ),
        "ipam" => stock(
            Interface {
                sandbox: "/run/netns/pod1".into(),
                ..Interface::default()
            },
            vec![ip("10.17.0.5/16", "")],
            vec![],
            Dns::default(),
        ),
        "mac-only" => stock(pod_interface("net1"), vec![], vec![], Dns::default()),
        other => panic!("no case {other}"),
    }
}

#[test]
fn pods_without_a_device_get_what_stock_prints() {
    for case in ["seed", "dual", "ipam", "mac-only"] {
        for version in Version::ALL {
            if case == "mac-only" && version <= Version::V0_2_0 {
                let failure = render(version, &stock(case)).unwrap_err();
                assert_eq!(failure.code, Code::Internal);
                continue;
            }
            let golden = String::from_utf8(read(&format!("stock/{case}-{version}.json"))).unwrap();
            let rendered = String::from_utf8(render(version, &stock(case)).unwrap()).unwrap();
            assert_eq!(rendered, golden, "{case} {version}");
        }
    }
}

#[test]
fn pods_with_a_vf() {
    let goldens: serde_json::Value = serde_json::from_slice(&read("vf.json")).unwrap();
    let representor = Interface {
        name: "84_0_3_h".into(),
        mac: "0a:00:00:00:00:01".into(),
        mtu: 1400,
        ..Interface::default()
    };
    let pod = Interface {
        mac: "00:00:00:aa:bb:cc".into(),
        pci_id: "0000:84:00.3".into(),
        ..pod_interface("eth0")
    };
    let outcome = Outcome {
        interfaces: vec![representor, pod],
        ips: vec![Ip {
            interface: 1,
            ..ip("10.16.0.5/16", "10.16.0.1")
        }],
        routes: vec![route("0.0.0.0/0", "10.16.0.1")],
        dns: Dns::default(),
        as_stock: false,
    };
    for version in Version::ALL {
        let rendered: serde_json::Value = serde_json::from_slice(&render(version, &outcome).unwrap()).unwrap();
        assert_eq!(&rendered, goldens.get(version.as_str()).unwrap(), "{version}");
    }
}
