//! The grammar of `phys_port_name`: which port of an eswitch a netdev is.
//!
//! The forms are those of `__devlink_port_phys_port_name_get` in the kernel's `net/devlink/port.c`; drivers that fill in
//! `ndo_get_phys_port_name` themselves (bnxt, nfp) keep to them for their VF representors, but for two: sfc puts its physical
//! port first (`ef100_get_phys_port_name` in `sfc/ef100_rep.c`), and mlx5 up to kernel 5.0 wrote only the VF's index.
//! Netdev *names* are never parsed: udev and operators choose those.

use std::fmt;
use std::str::FromStr;

use crate::types::Invalid;

/// A parsed `phys_port_name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PortName {
    /// `[lN]pN[sN]`: a physical port, the uplink.
    Physical {
        /// The line card, on modular switches.
        line_card: Option<u32>,
        /// The number of the port.
        port: u32,
        /// The part of a split port.
        split: Option<u32>,
    },
    /// `[cN]pfN`: the representor of a PF.
    Pf {
        /// The host beyond this eswitch, set only on ports that are external (on a DPU: the server it sits in).
        controller: Option<u32>,
        /// The number of the PF, which need not be its PCI function.
        pf: u32,
    },
    /// `[cN]pfNvfN`, with sfc `pNpfNvfN`: the representor of a VF.
    Vf {
        /// The physical port, which only sfc tells.
        port: Option<u32>,
        /// As for [`PortName::Pf`].
        controller: Option<u32>,
        /// As for [`PortName::Pf`].
        pf: u32,
        /// The index of the VF.
        vf: u32,
    },
    /// `[cN]pfNsfN`: the representor of a sub-function.
    Sf {
        /// As for [`PortName::Pf`].
        controller: Option<u32>,
        /// As for [`PortName::Pf`].
        pf: u32,
        /// The number that the sub-function was created with.
        sf: u32,
    },
    /// `N`: the representor of a VF of a PF that is not told.
    Plain {
        /// The index of the VF.
        vf: u32,
    },
}

/// What follows `tag` and a number, and that number. The kernel prints `%u`: no sign, no leading zero.
fn tagged<'a>(text: &'a str, tag: &str) -> Option<(u32, &'a str)> {
    let rest = text.strip_prefix(tag)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, rest) = rest.split_at(end);
    if digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    Some((digits.parse().ok()?, rest))
}

/// Like [`tagged`] for a part that may be missing.
fn prefix<'a>(text: &'a str, tag: &str) -> (Option<u32>, &'a str) {
    tagged(text, tag).map_or((None, text), |(number, rest)| (Some(number), rest))
}

fn physical(text: &str) -> Option<PortName> {
    let (line_card, rest) = prefix(text, "l");
    let (port, rest) = tagged(rest, "p")?;
    let (split, rest) = prefix(rest, "s");
    rest.is_empty().then_some(PortName::Physical { line_card, port, split })
}

fn function(text: &str) -> Option<PortName> {
    let (controller, rest) = prefix(text, "c");
    let (pf, rest) = tagged(rest, "pf")?;
    if rest.is_empty() {
        Some(PortName::Pf { controller, pf })
    } else if let Some((vf, "")) = tagged(rest, "vf") {
        Some(PortName::Vf {
            port: None,
            controller,
            pf,
            vf,
        })
    } else if let Some((sf, "")) = tagged(rest, "sf") {
        Some(PortName::Sf { controller, pf, sf })
    } else {
        None
    }
}

fn behind_port(text: &str) -> Option<PortName> {
    let (port, rest) = tagged(text, "p")?;
    match function(rest)? {
        PortName::Vf {
            controller: None,
            pf,
            vf,
            ..
        } => Some(PortName::Vf {
            port: Some(port),
            controller: None,
            pf,
            vf,
        }),
        _ => None,
    }
}

fn plain(text: &str) -> Option<PortName> {
    match tagged(text, "")? {
        (vf, "") => Some(PortName::Plain { vf }),
        _ => None,
    }
}

impl FromStr for PortName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        physical(text)
            .or_else(|| function(text))
            .or_else(|| behind_port(text))
            .or_else(|| plain(text))
            .ok_or_else(|| Invalid(format!("{text:?} is not a port name such as p0 or pf0vf3")))
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let optional = |f: &mut fmt::Formatter<'_>, tag: char, number: Option<u32>| {
            number.map_or(Ok(()), |number| write!(f, "{tag}{number}"))
        };
        match *self {
            Self::Physical { line_card, port, split } => {
                optional(f, 'l', line_card)?;
                write!(f, "p{port}")?;
                optional(f, 's', split)
            }
            Self::Pf { controller, pf } => {
                optional(f, 'c', controller)?;
                write!(f, "pf{pf}")
            }
            Self::Vf {
                port,
                controller,
                pf,
                vf,
            } => {
                optional(f, 'p', port)?;
                optional(f, 'c', controller)?;
                write!(f, "pf{pf}vf{vf}")
            }
            Self::Sf { controller, pf, sf } => {
                optional(f, 'c', controller)?;
                write!(f, "pf{pf}sf{sf}")
            }
            Self::Plain { vf } => write!(f, "{vf}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_the_kernel() {
        let physical = |line_card, port, split| PortName::Physical { line_card, port, split };
        let vf = |controller, pf, vf| PortName::Vf {
            port: None,
            controller,
            pf,
            vf,
        };
        for (text, value) in [
            ("p0", physical(None, 0, None)),
            ("p1s3", physical(None, 1, Some(3))),
            ("l1p3", physical(Some(1), 3, None)),
            ("l1p3s0", physical(Some(1), 3, Some(0))),
            (
                "pf0",
                PortName::Pf {
                    controller: None,
                    pf: 0,
                },
            ),
            (
                "c1pf0",
                PortName::Pf {
                    controller: Some(1),
                    pf: 0,
                },
            ),
            ("pf0vf0", vf(None, 0, 0)),
            ("pf1vf127", vf(None, 1, 127)),
            ("c0pf0vf3", vf(Some(0), 0, 3)),
            (
                "p0pf1vf3",
                PortName::Vf {
                    port: Some(0),
                    controller: None,
                    pf: 1,
                    vf: 3,
                },
            ),
            ("0", PortName::Plain { vf: 0 }),
            ("12", PortName::Plain { vf: 12 }),
            (
                "pf0sf88",
                PortName::Sf {
                    controller: None,
                    pf: 0,
                    sf: 88,
                },
            ),
            (
                "c1pf0sf88",
                PortName::Sf {
                    controller: Some(1),
                    pf: 0,
                    sf: 88,
                },
            ),
        ] {
            assert_eq!(text.parse(), Ok(value), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "p",
            "pf",
            "pfvf",
            "pf0vf",
            "pf0vf0 ",
            " pf0vf0",
            "pf0vf0\n",
            "PF0VF0",
            "pf0vf00",
            "p00",
            "pf01vf0",
            "p+1",
            "pf-1",
            "pf0vf4294967296",
            "pf0vf0sf0",
            "pf0vf0rep",
            "pf0s0",
            "l1pf0",
            "l1",
            "c1",
            "c1p0",
            "cpf0",
            "s0",
            "p0s",
            "00",
            "+1",
            "4294967296",
            "p0pf0",
            "p0pf0sf3",
            "p0c1pf0vf3",
            "p0s0pf0vf3",
            "eth0",
            "pf0vf１",
            "é",
        ] {
            let error = text.parse::<PortName>().unwrap_err().to_string();
            assert_eq!(error, format!("{text:?} is not a port name such as p0 or pf0vf3"));
        }
    }
}
