//! What devlink tells of a NIC: the mode of its eswitch and the eswitch's ports (linux/devlink.h,
//! Documentation/networking/devlink/devlink-port.rst).
//!
//! [`Devlink`] is a trait since two answer it: the kernel ([`Session`]), and a text that was written down elsewhere
//! ([`Recorded`]), by which the resolver is tested on NICs that are not here.

use std::fmt;

use nix::errno::Errno;

use super::Error;
use super::genl::{self, Answer, Dump, Genl};
use crate::types::{AuxName, IfName, Mac, Netdev, PciAddress};

mod recorded;

pub use recorded::Recorded;

const CMD_PORT_GET: u8 = 5;
const CMD_ESWITCH_GET: u8 = 29;
const CMD_PARAM_GET: u8 = 38;
const CMD_ESWITCH_SET: u8 = 30;
const ATTR_BUS_NAME: u16 = 1;
const ATTR_DEV_NAME: u16 = 2;
const ATTR_PORT_INDEX: u16 = 3;
const ATTR_PORT_NETDEV_IFINDEX: u16 = 6;
const ATTR_PORT_NETDEV_NAME: u16 = 7;
const ATTR_ESWITCH_MODE: u16 = 25;
const ATTR_PORT_FLAVOUR: u16 = 77;
const ATTR_PORT_NUMBER: u16 = 78;
const ATTR_PARAM: u16 = 80;
const ATTR_PARAM_NAME: u16 = 81;
const ATTR_PARAM_VALUES_LIST: u16 = 84;
const ATTR_PARAM_VALUE_DATA: u16 = 86;
const ATTR_PORT_PCI_PF_NUMBER: u16 = 127;
const ATTR_PORT_PCI_VF_NUMBER: u16 = 128;
const ATTR_PORT_FUNCTION: u16 = 145;
const ATTR_PORT_EXTERNAL: u16 = 149;
const ATTR_PORT_CONTROLLER_NUMBER: u16 = 150;
const ATTR_PORT_PCI_SF_NUMBER: u16 = 164;
const PORT_FUNCTION_ATTR_HW_ADDR: u16 = 1;
const FLAVOUR_PHYSICAL: u16 = 0;
const FLAVOUR_PCI_PF: u16 = 3;
const FLAVOUR_PCI_VF: u16 = 4;
const FLAVOUR_PCI_SF: u16 = 7;

/// More ports than a machine has: VFs are counted in 16 bits.
const MAX_PORTS: usize = 1 << 16;

/// How a NIC's embedded switch works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EswitchMode {
    /// It forwards by MAC and VLAN; VFs have no representors.
    Legacy,
    /// Each VF has a representor, and flows are offloaded between them.
    Switchdev,
    /// A mode that this program does not know.
    Other(u16),
}

impl fmt::Display for EswitchMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Legacy => f.write_str("legacy"),
            Self::Switchdev => f.write_str("switchdev"),
            Self::Other(mode) => write!(f, "unknown ({mode})"),
        }
    }
}

/// What devlink says of a PF's eswitch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eswitch {
    /// It is in this mode.
    Mode(EswitchMode),
    /// devlink knows the PF, but its driver manages no eswitch: EOPNOTSUPP. So answers mlx5 on the host of a DPU, whose
    /// eswitch belongs to the DPU's own function (`mlx5_eswitch_check` in mlx5/core/eswitch.c), or for a port in
    /// `InfiniBand` mode.
    NotManaged,
    /// devlink does not know the PF, or this kernel has no devlink.
    Unknown,
}

/// The name of a devlink instance: `pci/0000:03:00.0`, or `auxiliary/mlx5_core.eth.0`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Handle {
    /// The bus.
    pub bus: String,
    /// The device on it.
    pub name: String,
}

impl Handle {
    /// The instance of a PCI function.
    #[must_use]
    pub fn pci(address: &PciAddress) -> Self {
        Self {
            bus: "pci".to_owned(),
            name: address.to_string(),
        }
    }

    /// The instance of a device on the auxiliary bus.
    #[must_use]
    pub fn auxiliary(name: &AuxName) -> Self {
        Self {
            bus: "auxiliary".to_owned(),
            name: name.to_string(),
        }
    }

    fn attributes(&self) -> [(u16, &str); 2] {
        [(ATTR_BUS_NAME, &self.bus), (ATTR_DEV_NAME, &self.name)]
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bus, self.name)
    }
}

/// What is behind a port of an eswitch. Numbers that the kernel does not tell are `None`: those of PF and VF came with 5.4,
/// that of a sub-function with 5.12.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// The wire.
    Physical {
        /// The number of the port.
        number: Option<u32>,
    },
    /// A PF.
    Pf {
        /// Its number, which need not be its PCI function.
        pf: Option<u32>,
    },
    /// A VF.
    Vf {
        /// The number of its PF.
        pf: Option<u32>,
        /// Its index.
        vf: Option<u32>,
    },
    /// A sub-function.
    Sf {
        /// The number of its PF.
        pf: Option<u32>,
        /// The number that it was created with.
        sf: Option<u32>,
    },
    /// Something else.
    Other(u16),
}

/// A port of an eswitch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The instance that it is a port of.
    pub handle: Handle,
    /// Its index there; drivers number as they like.
    pub index: u32,
    /// What is behind it.
    pub flavour: Flavour,
    /// What is behind it belongs to another host: on a DPU, the server that it sits in. Since 5.10; before, nothing did.
    pub external: bool,
    /// The number of that host.
    pub controller: Option<u32>,
    /// The netdev that stands for it. `None` also while that is being made, or when it is in another network
    /// namespace than the instance.
    pub netdev: Option<Netdev>,
    /// The MAC that is administered for the function behind it, where the driver tells: the one that `ip link set PF vf N
    /// mac` sets, without a message that holds all VFs.
    pub hw_addr: Option<Mac>,
}

/// As `devlink port show` prints it, but for `netdev NAME/IFINDEX`.
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.handle, self.index)?;
        if let Some(Netdev { name, ifindex }) = &self.netdev {
            write!(f, " netdev {name}/{ifindex}")?;
        }
        let number = |f: &mut fmt::Formatter<'_>, name: &str, number: Option<u32>| {
            number.map_or(Ok(()), |number| write!(f, " {name} {number}"))
        };
        match self.flavour {
            Flavour::Physical { number: port } => {
                f.write_str(" flavour physical")?;
                number(f, "port", port)?;
            }
            Flavour::Pf { pf } => {
                f.write_str(" flavour pcipf")?;
                number(f, "controller", self.controller)?;
                number(f, "pfnum", pf)?;
            }
            Flavour::Vf { pf, vf } => {
                f.write_str(" flavour pcivf")?;
                number(f, "controller", self.controller)?;
                number(f, "pfnum", pf)?;
                number(f, "vfnum", vf)?;
            }
            Flavour::Sf { pf, sf } => {
                f.write_str(" flavour pcisf")?;
                number(f, "controller", self.controller)?;
                number(f, "pfnum", pf)?;
                number(f, "sfnum", sf)?;
            }
            Flavour::Other(flavour) => write!(f, " flavour {flavour}")?,
        }
        if self.external {
            f.write_str(" external true")?;
        }
        if let Some(mac) = self.hw_addr {
            write!(f, " hw_addr {mac}")?;
        }
        Ok(())
    }
}

/// What can be asked of devlink.
pub trait Devlink {
    /// The eswitch of a PF.
    fn eswitch(&self, pf: &PciAddress) -> Result<Eswitch, Error>;

    /// One port of an instance; nothing when there is no such port.
    fn port(&self, of: &Handle, index: u32) -> Result<Option<Port>, Error>;

    /// The ports of an instance; none when there is no such instance. Kernels before 6.6 give the ports of the others as well:
    /// look at [`Port::handle`].
    fn ports(&self, of: &Handle) -> Result<Vec<Port>, Error>;
}

/// The kernel's devlink, in one network namespace.
pub struct Session {
    genl: Genl,
}

impl Session {
    /// A session in the network namespace of this thread.
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            genl: Genl::open("devlink")?,
        })
    }

    /// Sets the mode of a PF's eswitch, as `devlink dev eswitch set` does. It takes seconds, makes or removes the representors,
    /// and interrupts the PF's own traffic.
    pub fn set_eswitch_mode(&self, pf: &PciAddress, mode: EswitchMode) -> Result<(), Error> {
        let number: u16 = match mode {
            EswitchMode::Legacy => 0,
            EswitchMode::Switchdev => 1,
            EswitchMode::Other(other) => other,
        };
        let mut attributes = genl::texts(&[(ATTR_BUS_NAME, "pci"), (ATTR_DEV_NAME, pf.as_str())]);
        genl::put(&mut attributes, ATTR_ESWITCH_MODE, &number.to_ne_bytes());
        let what = format!("set devlink eswitch mode of pci/{pf} to {mode}");
        self.genl.tell(&what, CMD_ESWITCH_SET, &attributes)
    }
}

impl Session {
    /// A parameter of an instance that is a text, such as mlx5's `flow_steering_mode` (Documentation/networking/devlink/mlx5.rst); nothing
    /// when the driver has no such one.
    pub fn parameter(&self, of: &PciAddress, name: &str) -> Result<Option<String>, Error> {
        let what = format!("devlink parameter {name} of pci/{of}");
        let parameter = [
            (ATTR_BUS_NAME, "pci"),
            (ATTR_DEV_NAME, of.as_str()),
            (ATTR_PARAM_NAME, name),
        ];
        match self.genl.ask(&what, CMD_PARAM_GET, &parameter)? {
            Answer::Attributes(reply) => Ok(text_of_parameter(&reply)),
            Answer::Refused(Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP | Errno::EINVAL) => Ok(None),
            Answer::Refused(errno) => Err(genl::refused(&what, errno)),
        }
    }
}

/// The first value: a parameter has one for each time at which it counts (now, after a reload, after a reboot).
fn text_of_parameter(reply: &[u8]) -> Option<String> {
    let values = genl::attribute(genl::attribute(reply, ATTR_PARAM)?, ATTR_PARAM_VALUES_LIST)?;
    let (_, value) = genl::attributes(values).next()?;
    let text = genl::attribute(value, ATTR_PARAM_VALUE_DATA).and_then(genl::as_text)?;
    Some(text.to_owned())
}

impl Devlink for Session {
    fn eswitch(&self, pf: &PciAddress) -> Result<Eswitch, Error> {
        let what = format!("devlink eswitch mode of pci/{pf}");
        let device = [(ATTR_BUS_NAME, "pci"), (ATTR_DEV_NAME, pf.as_str())];
        match self.genl.ask(&what, CMD_ESWITCH_GET, &device)? {
            Answer::Attributes(attributes) => Ok(genl::attribute(&attributes, ATTR_ESWITCH_MODE)
                .and_then(genl::as_u16)
                .map_or(Eswitch::NotManaged, |mode| {
                    Eswitch::Mode(match mode {
                        0 => EswitchMode::Legacy,
                        1 => EswitchMode::Switchdev,
                        other => EswitchMode::Other(other),
                    })
                })),
            Answer::Refused(Errno::EOPNOTSUPP) => Ok(Eswitch::NotManaged),
            // so mlx5 said the same until about 5.9; but who is not root is told it for any device
            Answer::Refused(Errno::EPERM) if nix::unistd::geteuid().is_root() => Ok(Eswitch::NotManaged),
            Answer::Refused(Errno::EPERM) => Err(Error::Kernel {
                what,
                errno: Errno::EPERM,
                hint: Some("only root may ask".to_owned()),
            }),
            Answer::Refused(Errno::ENOENT | Errno::ENODEV) => Ok(Eswitch::Unknown),
            Answer::Refused(errno) => Err(genl::refused(&what, errno)),
        }
    }

    fn port(&self, of: &Handle, index: u32) -> Result<Option<Port>, Error> {
        let what = format!("devlink port {of}/{index}");
        let mut wanted = genl::texts(&of.attributes());
        genl::put(&mut wanted, ATTR_PORT_INDEX, &index.to_ne_bytes());
        match self.genl.ask_with(&what, CMD_PORT_GET, &wanted)? {
            Answer::Attributes(attributes) => {
                Ok(port(&attributes).filter(|port| port.handle == *of && port.index == index))
            }
            // ENODEV: no such instance, or no such port
            Answer::Refused(Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP) => Ok(None),
            Answer::Refused(errno) => Err(genl::refused(&what, errno)),
        }
    }

    fn ports(&self, of: &Handle) -> Result<Vec<Port>, Error> {
        let what = format!("devlink ports of {of}");
        // Kernels before 6.6 do not look at the attributes of a dump (4a1b5aa8b5c7) and give all that they have.
        let each = |ports: &mut Vec<Port>, attributes: &[u8]| {
            if ports.len() == MAX_PORTS {
                return Err(Error::NoAnswer {
                    what: what.clone(),
                    why: format!("more than {MAX_PORTS} ports"),
                });
            }
            ports.extend(port(attributes));
            Ok(())
        };
        match self.genl.dump(&what, CMD_PORT_GET, &of.attributes(), each)? {
            (ports, Dump::Whole(packets)) => {
                log::debug!("{what}: {} in {packets} packets", ports.len());
                Ok(ports)
            }
            (_, Dump::Refused(Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP)) => Ok(Vec::new()),
            (_, Dump::Refused(errno)) => Err(genl::refused(&what, errno)),
        }
    }
}

/// The port of a reply's attributes; `None` for what is none. They are gone through once: there are many ports.
#[must_use]
pub fn port(attributes: &[u8]) -> Option<Port> {
    let (mut bus, mut device, mut index, mut flavour) = (None, None, None, None);
    let (mut pf, mut vf, mut sf, mut number) = (None, None, None, None);
    let (mut ifindex, mut name, mut controller, mut hw_addr) = (None, None, None, None);
    let mut external = false;
    for (kind, value) in genl::attributes(attributes) {
        match kind {
            ATTR_BUS_NAME => bus = genl::as_text(value),
            ATTR_DEV_NAME => device = genl::as_text(value),
            ATTR_PORT_INDEX => index = genl::as_u32(value),
            ATTR_PORT_NETDEV_IFINDEX => ifindex = genl::as_u32(value).filter(|index| *index > 0),
            ATTR_PORT_NETDEV_NAME => name = genl::as_text(value),
            ATTR_PORT_FLAVOUR => flavour = genl::as_u16(value),
            ATTR_PORT_NUMBER => number = genl::as_u32(value),
            ATTR_PORT_PCI_PF_NUMBER => pf = genl::as_u16(value).map(u32::from),
            ATTR_PORT_PCI_VF_NUMBER => vf = genl::as_u16(value).map(u32::from),
            ATTR_PORT_PCI_SF_NUMBER => sf = genl::as_u32(value),
            ATTR_PORT_CONTROLLER_NUMBER => controller = genl::as_u32(value),
            // one byte: 0 or 1
            ATTR_PORT_EXTERNAL => external = value.first().is_some_and(|byte| *byte != 0),
            ATTR_PORT_FUNCTION => hw_addr = function_address(value),
            _ => {}
        }
    }
    let flavour = match flavour? {
        FLAVOUR_PHYSICAL => Flavour::Physical { number },
        FLAVOUR_PCI_PF => Flavour::Pf { pf },
        FLAVOUR_PCI_VF => Flavour::Vf { pf, vf },
        FLAVOUR_PCI_SF => Flavour::Sf { pf, sf },
        other => Flavour::Other(other),
    };
    // a name that is not text could not be used; it is then as if the port had no netdev
    let name: Option<IfName> = name.and_then(|name| name.parse().ok());
    Some(Port {
        handle: Handle {
            bus: bus?.to_owned(),
            name: device?.to_owned(),
        },
        index: index?,
        flavour,
        external,
        controller,
        netdev: name.zip(ifindex).map(|(name, ifindex)| Netdev { name, ifindex }),
        hw_addr,
    })
}

fn function_address(function: &[u8]) -> Option<Mac> {
    let address = genl::attribute(function, PORT_FUNCTION_ATTR_HW_ADDR)?;
    <[u8; 6]>::try_from(address).ok().map(Mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTR_PARAM_VALUE: u16 = 85;
    const ATTR_PARAM_VALUE_CMODE: u16 = 87;

    fn attribute(run: &mut Vec<u8>, kind: u16, value: &[u8]) {
        run.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
        run.extend(kind.to_ne_bytes());
        run.extend(value);
        run.resize(run.len().next_multiple_of(4), 0);
    }

    /// A VF's port as 6.1 sends it.
    fn run() -> Vec<u8> {
        let mut function = Vec::new();
        attribute(&mut function, PORT_FUNCTION_ATTR_HW_ADDR, &[2, 0, 0, 0, 0, 9]);
        let mut run = Vec::new();
        attribute(&mut run, ATTR_BUS_NAME, b"pci\0");
        attribute(&mut run, ATTR_DEV_NAME, b"0000:03:00.0\0");
        attribute(&mut run, ATTR_PORT_INDEX, &1u32.to_ne_bytes());
        attribute(&mut run, ATTR_PORT_NETDEV_IFINDEX, &11u32.to_ne_bytes());
        attribute(&mut run, ATTR_PORT_NETDEV_NAME, b"eth0\0");
        attribute(&mut run, ATTR_PORT_FLAVOUR, &FLAVOUR_PCI_VF.to_ne_bytes());
        attribute(&mut run, ATTR_PORT_CONTROLLER_NUMBER, &0u32.to_ne_bytes());
        attribute(&mut run, ATTR_PORT_PCI_PF_NUMBER, &0u16.to_ne_bytes());
        attribute(&mut run, ATTR_PORT_PCI_VF_NUMBER, &3u16.to_ne_bytes());
        attribute(&mut run, ATTR_PORT_EXTERNAL, &[0]);
        attribute(&mut run, 0x8000 | ATTR_PORT_FUNCTION, &function);
        run
    }

    #[test]
    fn a_port() {
        assert_eq!(
            port(&run()).unwrap().to_string(),
            "pci/0000:03:00.0/1 netdev eth0/11 flavour pcivf controller 0 pfnum 0 vfnum 3 hw_addr 02:00:00:00:00:09"
        );
        let run = run();
        for cut in 0..run.len() {
            let _ = port(&run[..cut]); // never a panic
        }
    }

    #[test]
    fn a_parameter() {
        let mut value = Vec::new();
        attribute(&mut value, ATTR_PARAM_VALUE_DATA, b"smfs\0");
        attribute(&mut value, ATTR_PARAM_VALUE_CMODE, &[0]);
        let (mut values, mut parameter, mut reply) = (Vec::new(), Vec::new(), Vec::new());
        attribute(&mut values, 0x8000 | ATTR_PARAM_VALUE, &value);
        attribute(&mut parameter, ATTR_PARAM_NAME, b"flow_steering_mode\0");
        attribute(&mut parameter, 0x8000 | ATTR_PARAM_VALUES_LIST, &values);
        attribute(&mut reply, ATTR_BUS_NAME, b"pci\0");
        attribute(&mut reply, 0x8000 | ATTR_PARAM, &parameter);
        assert_eq!(text_of_parameter(&reply).as_deref(), Some("smfs"));
        for cut in 0..reply.len() {
            let _ = text_of_parameter(&reply[..cut]); // never a panic
        }
    }

    #[test]
    fn values_of_a_wrong_length_are_none() {
        let mut run = Vec::new();
        attribute(&mut run, ATTR_BUS_NAME, b"pci");
        attribute(&mut run, ATTR_DEV_NAME, b"0000:03:00.0");
        attribute(&mut run, ATTR_PORT_INDEX, &1u32.to_ne_bytes());
        attribute(&mut run, ATTR_PORT_FLAVOUR, &FLAVOUR_PCI_SF.to_ne_bytes());
        attribute(&mut run, ATTR_PORT_NETDEV_NAME, b"eth\xff\0");
        attribute(&mut run, ATTR_PORT_NETDEV_IFINDEX, &11u32.to_ne_bytes());
        attribute(&mut run, ATTR_PORT_PCI_SF_NUMBER, &[1, 0]);
        attribute(&mut run, ATTR_PORT_EXTERNAL, &[]);
        let port = port(&run).unwrap();
        assert_eq!(port.to_string(), "pci/0000:03:00.0/1 flavour pcisf");
        assert_eq!(port.netdev, None);
    }

    #[test]
    fn a_device_that_devlink_does_not_know() {
        let address: PciAddress = "ffff:ff:1f.7".parse().unwrap();
        let session = Session::open().unwrap();
        assert_eq!(session.eswitch(&address).unwrap(), Eswitch::Unknown);
        let handle = Handle::pci(&address);
        assert_eq!(session.port(&handle, 1).unwrap(), None);
        let of_it = session.ports(&handle).unwrap();
        assert!(of_it.iter().all(|port| port.handle != handle), "{of_it:?}");
        assert_eq!(session.parameter(&address, "flow_steering_mode").unwrap(), None);
    }
}
