//! Properties of the values that everything else trusts: what is accepted, what it is written as, and that no two texts
//! are one value without being one text. Each runs on hundreds of values that proptest makes and, when one fails,
//! makes smaller; what failed once is kept in tests/properties.proptest-regressions and tried first for ever after.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use kube_ovn::device::PortName;
use kube_ovn::types::{ContainerId, IfName, Mac, PciAddress};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// Small numbers, as ports have them, and the ends.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..300_u32, 1 => any::<u32>(), 1 => Just(u32::MAX)]
}

fn port_name() -> impl Strategy<Value = PortName> {
    let optional = || proptest::option::of(number());
    prop_oneof![
        (optional(), number(), optional()).prop_map(|(line_card, port, split)| PortName::Physical {
            line_card,
            port,
            split
        }),
        (optional(), number()).prop_map(|(controller, pf)| PortName::Pf { controller, pf }),
        (optional(), number(), number()).prop_map(|(controller, pf, vf)| PortName::Vf {
            port: None,
            controller,
            pf,
            vf
        }),
        // only sfc tells the port, and it has no controllers
        (number(), number(), number()).prop_map(|(port, pf, vf)| PortName::Vf {
            port: Some(port),
            controller: None,
            pf,
            vf
        }),
        number().prop_map(|vf| PortName::Plain { vf }),
        (optional(), number(), number()).prop_map(|(controller, pf, sf)| PortName::Sf { controller, pf, sf }),
    ]
}

/// Texts that are nearly port names: their letters and numbers in any order, with what else may come between.
fn nearly_a_port_name() -> impl Strategy<Value = String> {
    let numbers = prop_oneof![number().prop_map(|n| n.to_string()), "0[0-9]{1,3}", "[0-9]{9,12}"];
    let letters = prop_oneof![
        Just("p"),
        Just("pf"),
        Just("vf"),
        Just("sf"),
        Just("c"),
        Just("l"),
        Just("s")
    ];
    let others = prop_oneof![
        Just(" "),
        Just("\n"),
        Just("-"),
        Just("+"),
        Just("\0"),
        Just("１"),
        Just("ｐ"),
        Just("_")
    ];
    let part = prop_oneof![
        6 => numbers,
        6 => letters.prop_map(str::to_owned),
        1 => others.prop_map(str::to_owned),
    ];
    proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

/// A text with one character changed, added or left out.
fn altered(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (text, any::<proptest::sample::Index>(), any::<char>(), 0..3).prop_map(|(text, at, c, how)| {
        let mut chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len() + 1);
        match (how, at < chars.len()) {
            (0, true) => chars[at] = c,
            (1, true) => drop(chars.remove(at)),
            _ => chars.insert(at, c),
        }
        chars.into_iter().collect()
    })
}

fn hex(digits: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = String> {
    let (least, most) = digits.into_inner();
    proptest::string::string_regex(&format!("[0-9a-fA-F]{{{least},{most}}}")).unwrap()
}

fn pci_address() -> impl Strategy<Value = String> {
    (hex(4..=8), hex(2..=2), 0..32_u8, 0..8_u8)
        .prop_map(|(domain, bus, device, function)| format!("{domain}:{bus}:{device:02x}.{function}"))
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 512,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn port_names_are_read_as_they_are_written(port in port_name()) {
        prop_assert_eq!(port.to_string().parse(), Ok(port));
    }

    /// Whatever is accepted is what would be written: no leading zero, no sign, no white space, nothing that overflows. So
    /// two texts that differ are two ports.
    #[test]
    fn port_names_have_one_spelling(text in prop_oneof![
        nearly_a_port_name(),
        altered(port_name().prop_map(|port| port.to_string())),
        any::<String>(),
    ]) {
        if let Ok(port) = text.parse::<PortName>() {
            prop_assert_eq!(port.to_string(), text);
        }
    }

    #[test]
    fn numbers_beyond_32_bits_are_refused(number in u64::from(u32::MAX) + 1.., form in 0..6) {
        let text = match form {
            0 => format!("p{number}"),
            1 => format!("pf{number}"),
            2 => format!("pf{number}vf0"),
            3 => format!("pf0vf{number}"),
            4 => format!("pf0sf{number}"),
            _ => format!("c{number}pf0vf0"),
        };
        prop_assert!(text.parse::<PortName>().is_err(), "{}", text);
    }

    #[test]
    fn pci_addresses(text in pci_address()) {
        let address: PciAddress = text.parse().unwrap();
        prop_assert_eq!(address.as_str(), text.to_ascii_lowercase());
        prop_assert_eq!(address.function().to_string(), text[text.len() - 1..].to_owned());
        prop_assert_eq!(text.to_ascii_uppercase().parse(), Ok(address.clone()));
        // through serde there is no other door
        let json = serde_json::to_string(&address).unwrap();
        prop_assert_eq!(serde_json::from_str::<PciAddress>(&json).unwrap(), address);
    }

    /// An address goes into paths: what is accepted has digits, `:` and `.` where they belong, and nothing else.
    #[test]
    fn what_is_nearly_a_pci_address(text in prop_oneof![altered(pci_address()), any::<String>()]) {
        if let Ok(address) = text.parse::<PciAddress>() {
            let shape: String = address.as_str().chars().map(|c| if c.is_ascii_hexdigit() { 'x' } else { c }).collect();
            let domain = shape.find(':').unwrap();
            prop_assert!((4..=8).contains(&domain) && shape[domain..] == *":xx:xx.x", "{}", text);
            prop_assert_eq!(address.as_str(), text.to_ascii_lowercase());
        }
    }

    #[test]
    fn domains_of_other_lengths_are_refused(domain in prop_oneof![hex(0..=3), hex(9..=16)]) {
        let text = format!("{domain}:03:00.2");
        prop_assert!(text.parse::<PciAddress>().is_err(), "{}", text);
    }

    /// What `dev_valid_name` in the kernel's net/core/dev.c says, in bytes (0xa0 is white space in its lib/ctype.c), and
    /// beyond it only white space that Go's `unicode.IsSpace`, and so skel, refuses too.
    #[test]
    fn interface_names(text in prop_oneof!["[!-~]{0,17}", "[à-ÿ]{1,7}", altered("[a-z0-9._-]{1,15}".prop_map(|text| text)), any::<String>()]) {
        let space = |b: u8| matches!(b, b' ' | b'\t'..=b'\r' | 0xa0);
        let bytes = text.as_bytes();
        let kernel = !bytes.is_empty()
            && bytes.len() < 16
            && text != "."
            && text != ".."
            && !bytes.iter().any(|b| matches!(b, b'/' | b':' | 0) || space(*b));
        let wide_space = text.chars().any(|c| !c.is_ascii() && c.is_whitespace());
        let ours = text.parse::<IfName>();
        prop_assert_eq!(ours.is_ok(), kernel && !wide_space, "{:?}", text);
        if let Ok(name) = ours {
            prop_assert_eq!(name.as_str(), text);
        }
    }

    /// With the interface's name it becomes a file's name: no `/`, nothing hidden, and it is what was sent.
    #[test]
    fn container_ids(text in prop_oneof!["[a-zA-Z0-9][a-zA-Z0-9_.-]{0,80}", altered("[a-zA-Z0-9_.-]{1,20}".prop_map(|text| text)), any::<String>()]) {
        let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
        let all = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
        let ours = text.parse::<ContainerId>();
        prop_assert_eq!(ours.is_ok(), first && all, "{:?}", text);
        if let Ok(id) = ours {
            prop_assert_eq!(id.as_str(), text);
        }
    }

    #[test]
    fn macs(bytes in any::<[u8; 6]>()) {
        let mac = Mac(bytes);
        let text = mac.to_string();
        prop_assert_eq!(text.parse(), Ok(mac));
        prop_assert_eq!(text.to_uppercase().parse(), Ok(mac));
        prop_assert_eq!(mac.is_zero(), bytes == [0; 6]);
        prop_assert_eq!(mac.is_unicast(), bytes != [0; 6] && bytes[0] % 2 == 0);
        let json = serde_json::to_string(&mac).unwrap();
        prop_assert_eq!(serde_json::from_str::<Mac>(&json).unwrap(), mac);
    }

    #[test]
    fn what_is_nearly_a_mac(text in prop_oneof![altered(any::<[u8; 6]>().prop_map(|bytes| Mac(bytes).to_string())), any::<String>()]) {
        if let Ok(mac) = text.parse::<Mac>() {
            prop_assert_eq!(mac.to_string(), text.to_ascii_lowercase());
        }
    }
}
