//! Values that are checked once, where they come in, and can be trusted everywhere else.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not the value it should be; reads as the end of a sentence ("… is not a PCI address …").
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

fn invalid<T>(message: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid(message.into()))
}

/// Gives a newtype around [`String`] its conversions; the only way in is [`FromStr`], for serde as well.
macro_rules! text_value {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl $name {
            /// The value as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(text: String) -> Result<Self, Invalid> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

/// The PCI address of a function, `DDDD:BB:DD.F`, in lower case. The domain has 4 digits, or up to 8
/// (Intel VMD and Hyper-V number domains beyond 16 bits).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PciAddress(String);
text_value!(PciAddress);

impl PciAddress {
    /// The number of the function, 0 to 7: the last digit.
    #[must_use]
    pub fn function(&self) -> u32 {
        u32::from(self.0.as_bytes().last().map_or(0, |digit| digit - b'0'))
    }
}

impl FromStr for PciAddress {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let hex = |part: &str, len: std::ops::RangeInclusive<usize>| {
            len.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit())
        };
        let well_formed = text.rsplit_once('.').is_some_and(|(rest, function)| {
            let parts: Vec<&str> = rest.split(':').collect();
            matches!(parts.as_slice(), [domain, bus, device] if hex(domain, 4..=8) && hex(bus, 2..=2)
                && hex(device, 2..=2) && u8::from_str_radix(device, 16).is_ok_and(|d| d < 32))
                && matches!(function.as_bytes(), [b'0'..=b'7'])
        });
        if well_formed {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            invalid(format!("{text:?} is not a PCI address such as 0000:03:00.2"))
        }
    }
}

/// The name of a network interface: 1 to 15 bytes, not `.` or `..`, without `/`, `:` and white space
/// (`dev_valid_name` in the kernel's `net/core/dev.c`, and skel's check of `CNI_IFNAME`). The kernel looks at bytes, and
/// takes 0xa0, a part of `à` and many others in UTF-8, for white space (its `lib/ctype.c`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IfName(String);
text_value!(IfName);

impl FromStr for IfName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            invalid("interface name is empty")
        } else if text.len() > 15 {
            invalid("interface name is too long")
        } else if text == "." || text == ".." {
            invalid("interface name is . or ..")
        } else if text
            .chars()
            .any(|c| c == '/' || c == ':' || c == '\0' || c.is_whitespace())
            || text.bytes().any(|b| b == 0xa0)
        {
            invalid("interface name contains / or : or whitespace characters")
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

/// The name of a device on the auxiliary bus, `MODULE.KIND.N`: `mlx5_core.sf.4` is a sub-function
/// (`auxiliary_device_add` in the kernel's drivers/base/auxiliary.c).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AuxName(String);
text_value!(AuxName);

impl FromStr for AuxName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let word = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        };
        let parts: Vec<&str> = text.split('.').collect();
        let well_formed = matches!(parts.as_slice(), [module, kind, number] if word(module) && word(kind)
            && number.len() <= 10 && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
        if well_formed && text.len() <= 64 {
            Ok(Self(text.to_owned()))
        } else {
            invalid(format!("{text:?} is not an auxiliary device such as mlx5_core.sf.4"))
        }
    }
}

/// What a device plugin gives a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeviceId {
    /// A PCI function.
    Pci(PciAddress),
    /// A sub-function, by its device on the auxiliary bus.
    Aux(AuxName),
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pci(address) => address.fmt(f),
            Self::Aux(name) => name.fmt(f),
        }
    }
}

impl FromStr for DeviceId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Pci(address));
        }
        text.parse().map(Self::Aux).map_err(|_: Invalid| {
            Invalid(format!(
                "{text:?} is neither a PCI address such as 0000:03:00.2 nor a sub-function such as mlx5_core.sf.4"
            ))
        })
    }
}

impl From<PciAddress> for DeviceId {
    fn from(address: PciAddress) -> Self {
        Self::Pci(address)
    }
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Netdev {
    /// Its name.
    pub name: IfName,
    /// Its index, which stays when the name changes.
    pub ifindex: u32,
}

/// The ID that the container runtime gave a sandbox: `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$` (CNI specification, parameters).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);
text_value!(ContainerId);

impl FromStr for ContainerId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        match text.as_bytes() {
            [first, rest @ ..] if first.is_ascii_alphanumeric() && rest.iter().all(|b| ok(*b)) => {
                Ok(Self(text.to_owned()))
            }
            _ => invalid(format!("{text:?} has invalid characters for a container ID")),
        }
    }
}

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// All zeros: "not set", wherever the kernel or a daemon uses it.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == [0; 6]
    }

    /// An address that an interface can have: not a group address, not zero.
    #[must_use]
    pub fn is_unicast(self) -> bool {
        self.0.first().is_some_and(|b| b & 1 == 0) && !self.is_zero()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if i == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl FromStr for Mac {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            match parts.next() {
                Some(p) if p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()) => {
                    *byte = u8::from_str_radix(p, 16).unwrap_or_default();
                }
                _ => return invalid(format!("{text:?} is not a MAC address")),
            }
        }
        if parts.next().is_some() {
            return invalid(format!("{text:?} is not a MAC address"));
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Mac {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

/// What tells one namespace from another while it lives: device and inode of its file in nsfs. Two paths with the
/// same pair mean the same namespace. The kernel may give an inode to a new namespace once the old one is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetnsId {
    /// `st_dev` of nsfs.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

impl fmt::Display for NetnsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net:[{}]", self.inode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_addresses() {
        for (text, value) in [
            ("0000:03:00.2", "0000:03:00.2"),
            ("0000:AF:1F.7", "0000:af:1f.7"),
            ("10000:01:00.2", "10000:01:00.2"),
        ] {
            assert_eq!(text.parse::<PciAddress>().unwrap().as_str(), value);
        }
        for text in [
            "",
            "03:00.2",
            "0000:03:00",
            "0000:03:00.8",
            "0000:03:20.0",
            "000:03:00.0",
            "0000:03:00.0/",
            "0000:3:00.0",
            "../../etc",
            "0000:03:00.0\n",
            "000000000:03:00.0",
            "0000:03:00.00",
            "mlx5_core.sf.4",
            "0000:03:0g.1",
        ] {
            assert!(text.parse::<PciAddress>().is_err(), "{text:?}");
        }
        assert_eq!("0000:03:00.5".parse::<PciAddress>().unwrap().function(), 5);
    }

    #[test]
    fn devices() {
        let parse = |text: &str| text.parse::<DeviceId>();
        assert_eq!(
            parse("0000:AF:1F.7").unwrap(),
            DeviceId::Pci("0000:af:1f.7".parse().unwrap())
        );
        assert_eq!(parse("mlx5_core.sf.4").unwrap().to_string(), "mlx5_core.sf.4");
        for text in [
            "",
            "..",
            "a.b.",
            "a..1",
            ".b.1",
            "a.b.c",
            "a.b.1/",
            "a/x.b.1",
            "a.b.1\n",
            "a.b.+1",
            "a.b.1.2",
            "eth0",
            "é.b.1",
            "a.b.11111111111",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert!(parse(&format!("{}.b.1", "a".repeat(64))).is_err());
    }

    #[test]
    fn interface_names() {
        for text in ["eth0", "abcdefghijklmno", "pod12345678901", "a.b", "é"] {
            assert_eq!(text.parse::<IfName>().unwrap().as_str(), text);
        }
        for text in [
            "",
            ".",
            "..",
            "a/b",
            "a:b",
            "a b",
            "a\tb",
            "a\u{a0}b",
            "à",
            "abcdefghijklmnop",
            "a\0",
        ] {
            assert!(text.parse::<IfName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn container_ids() {
        for text in ["c1", "default-t1", "A_b.c-d"] {
            assert!(text.parse::<ContainerId>().is_ok(), "{text:?}");
        }
        for text in ["", "-c1", "a/b", "a\n", ".a", "ä"] {
            assert!(text.parse::<ContainerId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn macs() {
        let mac: Mac = "0A:58:0a:00:00:01".parse().unwrap();
        assert_eq!(mac.to_string(), "0a:58:0a:00:00:01");
        assert!(mac.is_unicast() && !mac.is_zero());
        assert!(!Mac([1, 0, 0, 0, 0, 0]).is_unicast() && !Mac([0; 6]).is_unicast());
        for text in [
            "",
            "0a:58:0a:00:00",
            "0a:58:0a:00:00:01:02",
            "0a-58-0a-00-00-01",
            "0a:58:0a:00:00:+1",
            "a:b:c:d:e:f",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn serde_goes_through_the_same_door() {
        assert!(serde_json::from_str::<PciAddress>("\"../x\"").is_err());
        assert_eq!(
            serde_json::to_string(&Mac([2, 0, 0, 0, 0, 1])).unwrap(),
            "\"02:00:00:00:00:01\""
        );
    }
}
