//! Failures, as the protocol has them.

use std::fmt;

use serde::Serialize;

use super::{Version, result};

/// The codes of the specification's section "Error", and of skel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Code {
    /// The netconf's `cniVersion` is not one of ours.
    IncompatibleVersion = 1,
    /// A key or value of the netconf that we do not support.
    UnsupportedField = 2,
    /// The caller need not send DEL: so only when nothing at all is left behind.
    UnknownContainer = 3,
    /// The text names the variables.
    InvalidEnvironment = 4,
    /// Reading or writing failed.
    Io = 5,
    /// Not JSON, or a key of a wrong type.
    Decode = 6,
    /// The netconf, or `CNI_ARGS`, lacks something or contradicts itself.
    InvalidConfig = 7,
    /// `CNI_NETNS` is the plugin's own; not in the specification, but skel has it.
    OwnNetns = 8,
    /// A later try may succeed. Stock's code for whatever the daemon says.
    TryAgainLater = 11,
    /// STATUS: no ADD could be served.
    NotAvailable = 50,
    /// STATUS: the same, and attached containers may lack connectivity.
    LimitedConnectivity = 51,
    /// Ours, as all from 100 on: the node, its NIC or the NIC's driver is not set up for offload. The text says what to
    /// change; the same call fails until somebody does.
    NodeNotReady = 100,
    /// Ours: a live attachment of another pod, or of another interface, has the device.
    DeviceHeld = 101,
    /// Ours: the daemon reported success, but the kernel does not show what it reported.
    NotAsSaid = 102,
    /// Ours: CHECK finds that the attachment is not as ADD left it.
    NotAsAdded = 103,
    /// Anything else, as skel has it.
    Internal = 999,
}

/// Why a call failed, as its caller is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The version of the netconf, as far as it is known.
    pub version: Option<Version>,
    /// What sort of failure.
    pub code: Code,
    /// One line.
    pub msg: String,
    /// More, or nothing.
    pub details: String,
}

impl Failure {
    /// A failure in a call of unknown version.
    pub fn new(code: Code, msg: impl Into<String>, details: impl Into<String>) -> Self {
        Self {
            version: None,
            code,
            msg: msg.into(),
            details: details.into(),
        }
    }

    /// The error object for stdout.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Layout<'a> {
            #[serde(rename = "cniVersion")]
            version: Version,
            code: u16,
            msg: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            details: &'a str,
        }
        let msg: String = self.msg.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let layout = Layout {
            version: self.version.unwrap_or(Version::LATEST),
            code: self.code as u16,
            msg: &msg,
            details: &self.details,
        };
        // strings and numbers: serialization into memory cannot fail
        result::to_json(&layout).unwrap_or_default()
    }
}

/// For logs: message and details in one.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if !self.details.is_empty() {
            write!(f, "; {}", self.details)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_object_as_the_specification_has_it() {
        let failure = Failure {
            version: Some(Version::V0_3_1),
            ..Failure::new(Code::TryAgainLater, "two\nlines", "a\nb")
        };
        let object: serde_json::Value = serde_json::from_slice(&failure.render()).unwrap();
        assert_eq!(
            object,
            serde_json::json!({"cniVersion": "0.3.1", "code": 11, "msg": "two lines", "details": "a\nb"})
        );
    }

    #[test]
    fn an_unknown_version_is_our_latest_and_empty_details_are_left_out() {
        let object = Failure::new(Code::Internal, "m", "").render();
        let object: serde_json::Value = serde_json::from_slice(&object).unwrap();
        assert_eq!(
            object,
            serde_json::json!({"cniVersion": "1.1.0", "code": 999, "msg": "m"})
        );
    }
}
