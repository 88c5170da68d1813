//! What root has decided for this node, and what of a netconf is believed because of it.
//!
//! A NetworkAttachmentDefinition may be written by a tenant, and the plugin is root: so what a netconf may not choose
//! (which process gets the pod's requests, where a log goes, how long a call may take) comes from one file of root's.

mod allocation;
mod config;
mod devinfo;
mod file;
mod keys;
mod socket;

use std::path::Path;

pub use allocation::{Allocations, Given, Unallocated, allocations, given, is_allocated};
pub use config::{Allocation, Config, Deadlines, Error, Offload, PATH};
pub use devinfo::{DeviceFacts, Ignored, update_device_info};
pub use file::{Unfit, append};
pub use socket::{Refused, SOCKET_DIRECTORY, trusted_socket};

/// What a call goes by.
#[derive(Debug, Default)]
pub struct Settings {
    /// The node's settings, or the defaults when they can't be used.
    pub config: Config,
    /// Why they can't be used. To be told by the calls that must not go on without them: ADD of a device, and STATUS. The
    /// others do what they can: a typing error must not keep pods from ending.
    pub problem: Option<Error>,
}

impl Settings {
    /// The settings in this file.
    #[must_use]
    pub fn load(path: &Path) -> Self {
        match Config::load(path) {
            Ok(config) => Self { config, problem: None },
            Err(problem) => Self {
                config: Config::default(),
                problem: Some(problem),
            },
        }
    }
}
