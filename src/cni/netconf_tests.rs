use super::*;

const OWN_NAME: &str = "kube-ovn-offload";

fn read(json: &str) -> Result<NetConf, Failure> {
    NetConf::read(
        &Keys::from_json(json.as_bytes()).unwrap(),
        Version::V0_3_1,
        "n".to_owned(),
        OWN_NAME,
    )
}

fn read_leniently(json: &str) -> NetConf {
    let keys = Keys::from_json(json.as_bytes()).unwrap().lenient();
    NetConf::read(&keys, Version::V0_3_1, "n".to_owned(), OWN_NAME).unwrap()
}

#[test]
fn the_mode() {
    use Mode::{Interface, Ipam};
    for (json, mode) in [
        (r#"{"type":"kube-ovn","ipam":{"type":"kube-ovn"}}"#, Interface),
        (r#"{"type":"kube-ovn-offload","ipam":{}}"#, Interface),
        (r#"{"type":"macvlan"}"#, Interface),
        (r#"{"type":"macvlan","ipam":null}"#, Interface),
        (r#"{"type":"macvlan","ipam":{}}"#, Ipam),
        (r#"{"ipam":{}}"#, Ipam),
        ("{}", Interface),
    ] {
        assert_eq!(read(json).unwrap().mode, mode, "{json}");
    }
}

#[test]
fn in_ipam_mode_the_keys_are_ipams() {
    let conf = read(
        r#"{"type":"host-device","device":"eth1","server_socket":"/a","provider":"a","deviceID":"0000:03:00.2",
            "routes":[{"dst":"1.0.0.0/8"}],
            "ipam":{"type":"kube-ovn","server_socket":"/b","provider":"nad.ns","routes":[{"gw":"10.0.0.1"}]}}"#,
    )
    .unwrap();
    assert_eq!(conf.socket().unwrap(), Path::new("/b"));
    assert_eq!(
        (conf.provider.as_str(), conf.cni_type.as_str()),
        ("nad.ns", "host-device")
    );
    assert_eq!(
        conf.routes,
        [ConfRoute {
            dst: String::new(),
            gw: "10.0.0.1".into()
        }]
    );
    assert_eq!((conf.device_id(), conf.device_required), (Ok(None), false));

    let conf = read(r#"{"type":"macvlan","server_socket":"/a","provider":"a","routes":[{}],"ipam":{}}"#).unwrap();
    assert_eq!(conf.socket().unwrap_err().code, Code::InvalidConfig);
    assert_eq!((conf.provider.as_str(), conf.routes.len()), ("ovn", 0));
}

#[test]
fn device_ids() {
    for (json, id) in [
        ("{}", None),
        (r#"{"deviceID":"","pciBusID":null,"runtimeConfig":{}}"#, None),
        (r#"{"pciBusID":"c"}"#, Some("c")),
        (
            r#"{"deviceID":"0000:af:00.2","pciBusID":"0000:AF:00.2"}"#,
            Some("0000:af:00.2"),
        ),
        (r#"{"deviceID":"b","runtimeConfig":{"deviceID":"B"}}"#, Some("B")),
        (r#"{"deviceID":"mlx5_core.sf.4"}"#, Some("mlx5_core.sf.4")),
    ] {
        assert_eq!(read(json).unwrap().device_id(), Ok(id), "{json}");
    }
    let conf = read(r#"{"deviceID":"a","pciBusID":"b","runtimeConfig":{"deviceID":"a"}}"#).unwrap();
    let failure = conf.device_id().unwrap_err();
    assert_eq!(failure.code, Code::InvalidConfig);
    assert_eq!(
        failure.msg,
        "the network config names different devices: runtimeConfig.deviceID is \"a\", deviceID is \"a\", pciBusID is \"b\""
    );
    for json in [
        r#"{"deviceID":3}"#,
        r#"{"runtimeConfig":[]}"#,
        r#"{"runtimeConfig":{"deviceID":{}}}"#,
    ] {
        assert_eq!(
            read(json).unwrap().device_id().unwrap_err().code,
            Code::Decode,
            "{json}"
        );
        assert_eq!(read_leniently(json).device_id(), Ok(None), "{json}");
    }
}

#[test]
fn the_key_device() {
    assert!(read(r#"{"device":"required"}"#).unwrap().device_required);
    assert!(!read(r#"{"device":""}"#).unwrap().device_required);
    assert!(!read("{}").unwrap().device_required);
    assert_eq!(read(r#"{"device":"Required"}"#).unwrap_err().code, Code::InvalidConfig);
    assert_eq!(read(r#"{"device":true}"#).unwrap_err().code, Code::Decode);
    assert!(!read_leniently(r#"{"device":"optional"}"#).device_required);
}

#[test]
fn wrong_types_name_the_key() {
    for key in [
        "type",
        "server_socket",
        "provider",
        "routes",
        "dns",
        "vf_driver",
        "vhost_user_socket_volume_name",
        "vhost_user_socket_name",
        "vhost_user_socket_consumption",
        "prevResult",
        "ipam",
    ] {
        let json = format!("{{\"{key}\":true}}");
        let failure = read(&json).unwrap_err();
        assert_eq!(failure.code, Code::Decode, "{key}");
        assert!(failure.msg.starts_with(&format!("\"{key}\" ")), "{}", failure.msg);
        read_leniently(&json);
    }
}

#[test]
fn sockets() {
    let longest = format!("/{}", "x".repeat(MAX_SOCKET_PATH - 1));
    let read = |path: &str| read(&serde_json::json!({ "server_socket": path }).to_string()).unwrap();
    assert_eq!(read(&longest).socket().unwrap(), Path::new(&longest));
    for (path, text) in [
        ("", "is required"),
        ("run/x.sock", "must be an absolute path"),
        ("@abstract", "must be an absolute path"),
        ("/run/\0x", "must not contain a NUL"),
        (
            format!("{longest}x").as_str(),
            "must be at most 107 bytes long, found 108",
        ),
    ] {
        let conf = read(path);
        let failure = conf.socket().unwrap_err();
        assert_eq!(failure.code, Code::InvalidConfig);
        assert!(failure.msg.contains(text), "{}", failure.msg);
    }
}

#[test]
fn names() {
    for (json, code, msg) in [
        ("{}", Code::InvalidConfig, "missing network name"),
        (r#"{"name":""}"#, Code::InvalidConfig, "missing network name"),
        (
            r#"{"name":"te%%st"}"#,
            Code::InvalidConfig,
            "invalid characters found in network name",
        ),
        (
            r#"{"name":3}"#,
            Code::Decode,
            "error unmarshall network config: \"name\" in the network config must be a string, found a number",
        ),
    ] {
        let failure = network_name(&Keys::from_json(json.as_bytes()).unwrap()).unwrap_err();
        assert_eq!((failure.code, failure.msg.as_str()), (code, msg));
    }
}

#[test]
fn dns_and_routes_as_the_daemon_has_them() {
    let conf = read(
        r#"{"dns":{"nameservers":["10.96.0.10"],"domain":"d","search":["s"],"options":null},
            "routes":[{"dst":"10.0.0.0/8","gw":"10.1.0.1"},{"dst":"::/0"}]}"#,
    )
    .unwrap();
    assert_eq!(
        serde_json::to_string(&conf.dns).unwrap(),
        r#"{"nameservers":["10.96.0.10"],"domain":"d","search":["s"]}"#
    );
    assert_eq!(
        serde_json::to_string(&conf.routes).unwrap(),
        r#"[{"dst":"10.0.0.0/8","gw":"10.1.0.1"},{"dst":"::/0","gw":""}]"#
    );
    let dns: Dns = serde_json::from_str(r#"{"nameservers":null,"domain":null,"new":1}"#).unwrap();
    assert!(dns.is_empty());
    let route: ConfRoute = serde_json::from_str(r#"{"gw":"10.1.0.1","dst":null}"#).unwrap();
    assert_eq!(
        route,
        ConfRoute {
            dst: String::new(),
            gw: "10.1.0.1".into()
        }
    );
}
