use super::*;
use crate::types::{Mac, NetnsId};

pub(crate) fn record() -> Record {
    let before = |ifindex, name: &str| Before {
        ifindex,
        name: name.parse().unwrap(),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        mtu: 1500,
        alias: String::new(),
        up: true,
        txqlen: Some(1000),
        flags: Some(0x1000),
        alt_names: Some(vec!["enp3s0f0v1".to_owned()]),
        xdp: 0,
        addresses: vec!["192.0.2.1/24".parse().unwrap()],
    };
    Record {
        format: FORMAT,
        stage: Stage::Preparing,
        claim: Claim {
            network: "kube-ovn".to_owned(),
            container: "0123456789abcdef".parse().unwrap(),
            ifname: "eth0".parse().unwrap(),
            pod: Pod {
                namespace: "default".to_owned(),
                name: "pod1".to_owned(),
                uid: String::new(),
            },
            socket: PathBuf::from("/run/x.sock"),
            provider: "sriov.default.ovn".to_owned(),
            netns: PathBuf::from("/var/run/netns/cni-1"),
            device: "0000:03:00.2".parse().unwrap(),
        },
        netns_id: NetnsId {
            device: 4,
            inode: 4_026_532_000,
        },
        pf: "0000:03:00.0".parse().unwrap(),
        vf_index: 0,
        vf: Some(before(7, "ens1f0v0")),
        representor: before(8, "ens1f0_0"),
        admin_mac: Some(Mac([0; 6])),
        attempt: "vf0123456789ab".parse().unwrap(),
        ending: false,
        asked: None,
    }
}

#[test]
fn a_record_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::at(&dir.path().join("state"));
    store.make().unwrap();
    let mut record = record();
    assert_eq!(store.read(&record.claim.device).unwrap(), None);
    store.write(&record).unwrap();
    record.stage = Stage::Attached;
    store.write(&record).unwrap();
    assert_eq!(store.read(&record.claim.device).unwrap().as_ref(), Some(&record));
    assert_eq!(
        store.find(&record.claim.container, &record.claim.ifname).unwrap(),
        Some(record.claim.device.clone())
    );
    assert_eq!(
        store.find(&record.claim.container, &"net1".parse().unwrap()).unwrap(),
        None
    );
    for _ in 0..2 {
        store.remove(&record).unwrap();
    }
    assert_eq!(store.read(&record.claim.device).unwrap(), None);
    assert_eq!(store.find(&record.claim.container, &record.claim.ifname).unwrap(), None);
}

#[test]
fn a_record_of_the_first_version() {
    let link = r#"{"ifindex":7,"name":"ens1f0v0","mac":"02:00:00:00:00:01","mtu":1500,"alias":"","up":true}"#;
    let before: Before = serde_json::from_str(link).unwrap();
    assert_eq!((before.txqlen, before.flags, before.alt_names), (None, None, None));
}

#[test]
fn what_we_did_not_write_is_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::at(&dir.path().join("state"));
    store.make().unwrap();
    let mut record = record();
    let path = store.record_path(&record.claim.device);
    for content in ["", "{}", "null", "garbage", &"[".repeat(100_000)] {
        fs::write(&path, content).unwrap();
        assert!(
            matches!(store.read(&record.claim.device), Err(Error::Unreadable { .. })),
            "{content:.20}"
        );
    }
    store.set_aside(&record.claim.device).unwrap();
    assert_eq!(store.read(&record.claim.device).unwrap(), None);
    assert!(store.devices().unwrap().is_empty());
    record.format = 0;
    store.write(&record).unwrap();
    assert!(matches!(
        store.read(&record.claim.device),
        Err(Error::Unreadable { .. })
    ));
    let another = "0000:03:01.7".parse().unwrap();
    fs::copy("tests/fixtures/state/format-1.json", store.record_path(&another)).unwrap();
    let text = store.read(&another).unwrap_err().to_string();
    assert!(text.contains("it is about 0000:03:00.2"), "{text}");
    let (container, ifname) = (record.claim.container.clone(), record.claim.ifname.clone());
    fs::write(store.attachment_path(&container, &ifname).unwrap(), "../../etc/passwd").unwrap();
    assert_eq!(store.find(&container, &ifname).unwrap(), None);
}

#[test]
fn records_of_other_versions() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::at(&dir.path().join("state"));
    store.make().unwrap();
    let device: PciAddress = "0000:03:00.2".parse().unwrap();
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/state"));
    for (file, ending) in [("format-1.json", false), ("format-99.json", true)] {
        fs::copy(directory.join(file), store.record_path(&device)).unwrap();
        let record = store.read(&device).unwrap().unwrap();
        assert_eq!((record.stage, record.ending), (Stage::Attached, ending), "{file}");
        assert_eq!(record.vf.unwrap().name.as_str(), "ens1f0v0", "{file}");
    }
}

#[test]
fn a_directory_of_others_is_refused() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let dir = tempfile::tempdir().unwrap();
    let open = dir.path().join("open");
    Store::at(&open).make().unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(Store::at(&open).make(), Err(Error::Unsafe { .. })));
    fs::set_permissions(&open, fs::Permissions::from_mode(0o700)).unwrap();
    let link = dir.path().join("link");
    symlink(&open, &link).unwrap();
    assert!(matches!(Store::at(&link).make(), Err(Error::Unsafe { .. })));
}

#[test]
fn an_id_that_makes_no_file_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::at(&dir.path().join("state"));
    store.make().unwrap();
    let mut record = record();
    record.claim.container = "a".repeat(300).parse().unwrap();
    assert!(matches!(store.write(&record), Err(Error::KeyTooLong(_))));
    assert_eq!(store.find(&record.claim.container, &record.claim.ifname).unwrap(), None);
}

/// A call was killed while it wrote a record: nothing of that stays when the next one has worked on the VF.
#[tokio::test]
async fn unfinished_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::at(&dir.path().join("state"));
    let device: PciAddress = "0000:03:00.2".parse().unwrap();
    store.make().unwrap();
    fs::write(store.temporary(&device), "{").unwrap();
    store.lock(&device, Instant::now()).await.unwrap();
    let left = names(&store.root.join("vf"), 10).unwrap();
    assert_eq!(left, ["0000:03:00.2.lock"]);
    assert!(store.devices().unwrap().is_empty());
}

#[tokio::test]
async fn one_call_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::at(&dir.path().join("state"));
    store.make().unwrap();
    let record = record();
    store.write(&record).unwrap();
    let lock = store.lock(&record.claim.device, Instant::now()).await.unwrap();
    let busy = store
        .lock(&record.claim.device, Instant::now())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        busy.contains("VF 0000:03:00.2") && busy.contains("pod default/pod1"),
        "{busy}"
    );
    drop(lock);
    store.lock(&record.claim.device, Instant::now()).await.unwrap();
}
