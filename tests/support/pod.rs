//! A pod's network namespace.
#![allow(dead_code, reason = "each test file uses its part of it")]
#![allow(clippy::unwrap_used, reason = "a helper's panic fails its test")]

use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A network namespace of our own: that of a sleeping process.
pub(crate) struct Pod {
    process: Child,
}

impl Pod {
    /// A new one.
    pub(crate) fn new() -> Self {
        // `unshare` and `sleep` are of every Debian; root is needed, and said so
        let process = Command::new("unshare").args(["--net", "sleep", "600"]).spawn().unwrap();
        let pod = Self { process };
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::fs::read_link(pod.netns()).unwrap() == own {
            assert!(Instant::now() < deadline, "no network namespace: these tests need root");
            std::thread::sleep(Duration::from_millis(5));
        }
        pod
    }

    /// Its path.
    pub(crate) fn netns(&self) -> String {
        format!("/proc/{}/ns/net", self.process.id())
    }

    /// `ip` in it.
    pub(crate) fn ip(&self, words: &str) {
        let inside = format!("--net={}", self.netns());
        let mut command = Command::new("nsenter");
        command.arg(inside).arg("ip").args(words.split(' '));
        assert!(command.status().unwrap().success(), "ip {words}");
    }

    /// A sysctl in it.
    pub(crate) fn sysctl(&self, key: &str) -> String {
        let output = Command::new("nsenter")
            .args([
                &format!("--net={}", self.netns()),
                "cat",
                &format!("/proc/sys/net/{key}"),
            ])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
