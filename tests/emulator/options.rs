//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::faults::Faults;
use crate::versions::{self, Version};

const USAGE: &str = "usage: kube-ovn-daemon-emulator --socket PATH --pods FILE
  [--log FILE] [--annotations FILE] [--ready-file PATH] [--answer-at-once [--bridge NAME]] [--vf-plumbing cni] [--fault LIST]
  [--daemon-version head|v1.16.2|v1.16.1|v1.15.24|v1.14.41|v1.13.15|v1.12.35]
  [--mtu 1400] [--retry-seconds 20] [--gateway-attempts 3] [--ovn-installed-seconds 30] [--acd-seconds 0] [--gc-seconds 0]";

pub(crate) struct Options {
    pub(crate) socket: PathBuf,
    pub(crate) pods: PathBuf,
    pub(crate) log: Option<PathBuf>,
    pub(crate) annotations: Option<PathBuf>,
    pub(crate) ready_file: Option<PathBuf>,
    pub(crate) version: &'static Version,
    pub(crate) answer_at_once: bool,
    /// With that, where the representors of VFs go.
    pub(crate) bridge: Option<String>,
    pub(crate) attach_only: bool,
    pub(crate) faults: Faults,
    pub(crate) mtu: u32,
    pub(crate) retries: u32,
    pub(crate) gateway_attempts: u32,
    pub(crate) ovn_installed: Duration,
    pub(crate) conflict_detection: Duration,
    /// Zero: never.
    pub(crate) garbage_collection: Duration,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            socket: PathBuf::new(),
            pods: PathBuf::new(),
            log: None,
            annotations: None,
            ready_file: None,
            version: versions::version("head")?,
            answer_at_once: false,
            bridge: None,
            attach_only: false,
            faults: Faults::default(),
            mtu: 1400,
            retries: 20,
            gateway_attempts: 3,
            ovn_installed: Duration::from_secs(30),
            conflict_detection: Duration::ZERO,
            garbage_collection: Duration::ZERO,
        };
        let mut rest = arguments.iter();
        while let Some(option) = rest.next() {
            if option == "--answer-at-once" {
                options.answer_at_once = true;
                continue;
            }
            let value = rest.next().ok_or_else(|| format!("{option} needs a value\n{USAGE}"))?;
            match option.as_str() {
                "--socket" => options.socket = value.into(),
                "--pods" => options.pods = value.into(),
                "--log" => options.log = Some(value.into()),
                "--annotations" => options.annotations = Some(value.into()),
                "--ready-file" => options.ready_file = Some(value.into()),
                "--bridge" => options.bridge = Some(value.clone()),
                "--vf-plumbing" if value == "cni" => options.attach_only = true,
                "--daemon-version" => options.version = versions::version(value)?,
                "--fault" => options.faults = Faults::parse(value)?,
                "--mtu" => options.mtu = number(option, value)?,
                "--retry-seconds" => options.retries = number(option, value)?,
                "--gateway-attempts" => options.gateway_attempts = number(option, value)?,
                "--ovn-installed-seconds" => {
                    options.ovn_installed = Duration::from_secs(number(option, value)?.into());
                }
                "--acd-seconds" => options.conflict_detection = Duration::from_secs(number(option, value)?.into()),
                "--gc-seconds" => options.garbage_collection = Duration::from_secs(number(option, value)?.into()),
                _ => return Err(format!("unknown option {option} {value}\n{USAGE}")),
            }
        }
        if options.socket.as_os_str().is_empty() || options.pods.as_os_str().is_empty() {
            return Err(format!("--socket and --pods are needed\n{USAGE}"));
        }
        Ok(options)
    }
}

fn number(option: &str, value: &str) -> Result<u32, String> {
    value
        .parse()
        .map_err(|_| format!("{option} must be a number of 0 or more, not {value:?}\n{USAGE}"))
}
