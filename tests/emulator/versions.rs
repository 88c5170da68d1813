//! What differs between the releases of kube-ovn-daemon, as data: a row a release, in which a fact stands when it changed.
//!
//! The crate's daemon in memory (`src/verbs/fake`) reads the same rows. `H` = pkg/daemon/handler.go, `O` =
//! `pkg/daemon/ovs_linux.go`, `N` = pkg/util/net.go, `C` = pkg/request/cniserver.go, each with line and tag; HEAD is 1533681d7.

/// The shape of the reply to ADD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `protocol`, `address`, `cidr`, `gateway`, with a comma list each for dual stack.
    Lists,
    /// `ips[]`.
    Ips,
}

/// Which providers are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Providers {
    /// Whatever ends in `ovn`, and those of subnets.
    AnyOvn,
    /// Whatever reads `x.y.ovn`, and those of subnets.
    ThreeParts,
    /// Those of subnets only.
    OfSubnets,
}

/// What an ADD that fails takes back. A VF that was moved stays in the pod in every release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rollback {
    Nothing,
    /// The OVS port, and a veth pair.
    Port,
    /// The representor is set up again as well.
    PortAndRepresentor,
}

#[expect(clippy::struct_excessive_bools, reason = "a table of yes and no")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    /// For `--daemon-version`: the tag, or `head`.
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    /// The reply has the MTU; before, the key is there and 0.
    pub(crate) tells_mtu: bool,
    /// Routes of the reply have both keys even when one is empty.
    pub(crate) full_routes: bool,
    pub(crate) providers: Providers,
    /// Waits for the annotation of the address; before, for `allocated`.
    pub(crate) waits_for_address: bool,
    /// A pod may get a MAC and no address.
    pub(crate) mac_only: bool,
    /// The annotations of `provider.ifname` go before those of `provider`: two NICs of one network in one pod.
    pub(crate) two_nics: bool,
    /// Masks and gateways are taken by the family of the address; before, by position, and both or none.
    pub(crate) by_family: bool,
    /// `configure nic IF for pod …` in errors; before, `configure nic failed …`.
    pub(crate) names_pod: bool,
    /// MTU of the representor, and up, as soon as it is renamed; later, when it is in br-int.
    pub(crate) representor_up_early: bool,
    pub(crate) rollback: Rollback,
    /// The pod's annotations `vf_representor`, `vf` and `pod_nic_type`.
    pub(crate) annotates: bool,
    /// `external_ids:ip` also when it is empty.
    pub(crate) empty_ip: bool,
    pub(crate) encap_ip: bool,
    pub(crate) waits_for_installed: bool,
    pub(crate) waits_for_localnet: bool,
    /// The daemon enables IPv6 in the pod, when it gets an IPv6 address; later, that is the plugin's business.
    pub(crate) sets_sysctl: bool,
    /// Address conflicts are looked for in every subnet; before, in those with a VLAN.
    pub(crate) detects_everywhere: bool,
    /// The gateway is asked by ARP in every subnet; before, by ping where there is no VLAN.
    pub(crate) arp_everywhere: bool,
    /// The check of the gateway ends when the pod is gone from the API.
    pub(crate) stops_without_pod: bool,
    /// As many gateways as addresses, or an error; before, more gateways end the process (P5).
    pub(crate) counts_gateways: bool,
    /// The error names the IPv6 addresses that are not usable.
    pub(crate) names_unready: bool,
    /// sriovnet 1.3.0: devlink first, the PF's number not compared; before 1.2.0: sysfs only, and it must be the PCI function's.
    pub(crate) devlink: bool,
    /// DEL needs the pod in the API, or does nothing (B6), and does nothing for a provider other than `ovn` unless
    /// `cni_type` is kube-ovn; later, it always works.
    pub(crate) del_needs_pod: bool,
    /// DEL does nothing without `net_ns` (B5); before, it does not look at it.
    pub(crate) del_needs_netns: bool,
    /// DEL takes the VF down and renames it, and moves it into the namespace in which it is (B1, B4).
    pub(crate) releases_vf: bool,
    /// DEL sets the representor down before it takes the port away.
    pub(crate) representor_down: bool,
}

const V1_12: Version = Version {
    name: "v1.12.35",
    shape: Shape::Lists,          // C:42-53@v1.12.35, H:358-368@v1.12.35
    tells_mtu: false,             // H:358-365@v1.12.35
    full_routes: true,            // C:16-19@v1.12.35
    providers: Providers::AnyOvn, // H:49@v1.12.35
    waits_for_address: false,     // H:106,195@v1.12.35
    mac_only: false,              // H:121-141@v1.12.35
    two_nics: false,              // H:121-132@v1.12.35
    by_family: false,             // N:313-339@v1.12.35
    names_pod: false,             // H:310@v1.12.35
    representor_up_early: true,   // O:1434,1458@v1.12.35
    rollback: Rollback::Nothing,  // O:64-131@v1.12.35
    annotates: false,             // O:81-103@v1.12.35
    empty_ip: true,               // O:90@v1.12.35
    encap_ip: false,              // O:85-91@v1.12.35
    waits_for_installed: false,   // O:112-130@v1.12.35
    waits_for_localnet: false,    // O:112-130@v1.12.35
    sets_sysctl: true,            // O:242-255@v1.12.35
    detects_everywhere: false,    // H:246@v1.12.35
    arp_everywhere: false,        // O:349,396@v1.12.35
    stops_without_pod: false,     // O:378-390@v1.12.35
    counts_gateways: false,       // O:393-395@v1.12.35
    names_unready: false,         // O:357-362@v1.12.35
    devlink: false,               // go.mod@v1.12.35: sriovnet 1.2.0
    del_needs_pod: true,          // H:421-424,443@v1.12.35
    del_needs_netns: false,       // O:133@v1.12.35, its `_`
    releases_vf: false,           // O:133-186@v1.12.35
    representor_down: false,      // O:143-147@v1.12.35
};

const V1_13: Version = Version {
    name: "v1.13.15",
    tells_mtu: true,                  // H:374@v1.13.15
    full_routes: false,               // C:17-20@v1.13.15
    providers: Providers::ThreeParts, // H:49@v1.13.15, pkg/util/subnet.go:5-13@v1.13.15
    names_pod: true,                  // H:319@v1.13.15
    rollback: Rollback::Port,         // O:81-88,130-137@v1.13.15
    annotates: true,                  // O:139-156@v1.13.15
    sets_sysctl: false,               // O:400-428@v1.13.15
    stops_without_pod: true,          // O:542-573@v1.13.15
    del_needs_pod: false,             // H:429-432,498-516@v1.13.15
    del_needs_netns: true,            // H:440-444@v1.13.15
    releases_vf: true,                // O:208-261@v1.13.15
    ..V1_12
};

const V1_14: Version = Version {
    name: "v1.14.41",
    waits_for_installed: true, // O:197-222@v1.14.41
    detects_everywhere: true,  // O:432@v1.14.41
    arp_everywhere: true,      // O:586,621,628@v1.14.41
    names_unready: true,       // O:540-563@v1.14.41
    ..V1_13
};

const V1_15: Version = Version {
    name: "v1.15.24",
    providers: Providers::OfSubnets, // H:49-66,79@v1.15.24; as v1.14.41 up to v1.15.17
    encap_ip: true,                  // O:118-120,136-138@v1.15.24
    ..V1_14
};

const V1_16_1: Version = Version {
    name: "v1.16.1",
    shape: Shape::Ips,                      // H:381-402@v1.16.1
    providers: Providers::ThreeParts,       // H:50,75@v1.16.1
    representor_up_early: false,            // O:190-199,1815@v1.16.1
    rollback: Rollback::PortAndRepresentor, // O:98-108@v1.16.1
    counts_gateways: true,                  // O:640-644@v1.16.1
    representor_down: true,                 // O:350-359@v1.16.1
    ..V1_15
};

const V1_16_2: Version = Version {
    name: "v1.16.2",
    waits_for_address: true, // H:122-129@v1.16.2
    two_nics: true,          // H:103-149@v1.16.2, O:113-118@v1.16.2
    ..V1_16_1
};

const HEAD: Version = Version {
    name: "head",
    providers: Providers::OfSubnets, // H:131-150,180
    mac_only: true,                  // H:152-161
    by_family: true,                 // H:108-129, N:355-389
    empty_ip: false,                 // O:134-136,154-156
    waits_for_localnet: true,        // O:269-279,296-304
    devlink: true,                   // go.mod: sriovnet 1.3.0
    ..V1_16_2
};

/// Oldest first.
pub(crate) const VERSIONS: [&Version; 7] = [&V1_12, &V1_13, &V1_14, &V1_15, &V1_16_1, &V1_16_2, &HEAD];

/// The row of that name.
pub(crate) fn version(name: &str) -> Result<&'static Version, String> {
    let known: Vec<&str> = VERSIONS.iter().map(|version| version.name).collect();
    (VERSIONS.into_iter().find(|version| version.name == name))
        .ok_or_else(|| format!("no daemon version is called {name:?}; known: {}", known.join(" ")))
}
