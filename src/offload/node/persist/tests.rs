use super::*;

fn all(pf: &str, count: u32) -> Vec<Drop> {
    let vfs: Vec<PciAddress> = (0..count)
        .map(|n| format!("0000:03:00.{}", n + 2).parse().unwrap())
        .collect();
    drops(&Prepared {
        pf: &pf.parse().unwrap(),
        count,
        vfs: &vfs,
        switch_id: Some("c2cfc60003a1420c"),
        program: Path::new("/usr/local/bin/kube-ovn-offload"),
    })
    .unwrap()
}

fn text<'a>(drops: &'a [Drop], end: &str) -> &'a str {
    let found = drops
        .iter()
        .find(|drop| drop.path.to_str().unwrap().ends_with(end))
        .unwrap();
    match &found.content {
        Content::Text(text) => text,
        Content::Link(target) => target,
    }
}

#[test]
fn what_is_written() {
    let drops = all("0000:03:00.0", 2);
    for drop in &drops {
        if let Content::Text(text) = &drop.content {
            assert!(text.starts_with(HEADER), "{}", drop.path.display());
        }
    }
    let unit = text(&drops, "system/kube-ovn-offload-0000-03-00.0.service");
    assert!(unit.contains(
        "\nExecStart=/usr/local/bin/kube-ovn-offload node prepare --pf 0000:03:00.0 --vfs 2 --wait 120 --yes-disrupt\n"
    ));
    assert!(unit.contains("\nBefore=network-pre.target\n"));
    let rules = text(&drops, ".rules");
    assert!(
        rules.contains("KERNELS==\"0000:03:00.3\", ENV{KUBE_OVN_OFFLOAD}=\"1\", ENV{NM_UNMANAGED}=\"1\""),
        "{rules}"
    );
    assert!(rules.contains("KERNELS==\"0000:03:00.0\", ATTR{phys_port_name}==\"*vf[0-9]*\", "));
    assert!(rules.contains("ATTR{phys_switch_id}==\"c2cfc60003a1420c\", ATTR{phys_port_name}==\"*vf[0-9]*\", "));
    assert!(text(&drops, ".network").contains("Property=KUBE_OVN_OFFLOAD=1\n\n[Link]\nUnmanaged=yes"));
    assert!(text(&drops, ".conf").contains("managed=0"));
    assert_eq!(
        text(&drops, "wants/kube-ovn-offload-0000-03-00.0.service"),
        "../kube-ovn-offload-0000-03-00.0.service"
    );
}

#[test]
fn words_of_a_unit() {
    for (path, expected) in [
        ("/usr/bin/x", "/usr/bin/x"),
        ("/a b/50%/$x", "\"/a b/50%%/$$x\""),
        ("/a\"b", "/a\\\"b"),
    ] {
        assert_eq!(word(Path::new(path)).unwrap(), expected);
    }
    assert!(word(Path::new("x")).is_err() && word(Path::new("/a\nb")).is_err());
}

#[test]
fn written_once_and_removed() {
    let root = tempfile::tempdir().unwrap();
    let (one, two): (PciAddress, PciAddress) = ("0000:03:00.0".parse().unwrap(), "0000:03:00.1".parse().unwrap());
    let first = all(one.as_str(), 2);
    assert_eq!(write(root.path(), &first).unwrap().len(), 6);
    assert_eq!(
        write(root.path(), &first).unwrap(),
        Vec::<PathBuf>::new(),
        "nothing to do"
    );
    assert_eq!(
        write(root.path(), &all(one.as_str(), 3)).unwrap().len(),
        2,
        "unit and rules say the number"
    );
    assert_eq!(write(root.path(), &all(two.as_str(), 2)).unwrap().len(), 3);
    assert_eq!(pfs(root.path()), [one.clone(), two.clone()]);
    let found = present(root.path(), &one).unwrap();
    assert_eq!(found.len(), 3, "the other PF needs what serves both");
    remove(&found).unwrap();
    let rest = present(root.path(), &two).unwrap();
    assert_eq!(rest.len(), 6);
    remove(&rest).unwrap();
    assert_eq!(present(root.path(), &two).unwrap(), Vec::<PathBuf>::new());
    let left: Vec<_> = fs::read_dir(root.path().join("etc/systemd/network")).unwrap().collect();
    assert!(left.is_empty());
}

#[test]
fn never_over_a_users_file() {
    let root = tempfile::tempdir().unwrap();
    let theirs = root.path().join("etc/systemd/network/10-kube-ovn-offload.link");
    fs::create_dir_all(theirs.parent().unwrap()).unwrap();
    fs::write(&theirs, "[Match]\n").unwrap();
    let drops = all("0000:03:00.0", 2);
    let why = write(root.path(), &drops).unwrap_err();
    assert!(
        why.contains("10-kube-ovn-offload.link was not written by kube-ovn-offload"),
        "{why}"
    );
    assert!(!root.path().join("etc/udev").exists(), "nothing was written");
    assert_eq!(
        present(root.path(), &"0000:03:00.0".parse().unwrap()).unwrap(),
        Vec::<PathBuf>::new()
    );
    assert_eq!(fs::read_to_string(&theirs).unwrap(), "[Match]\n");
}
