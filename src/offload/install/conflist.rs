//! The drop-in: the file of /etc/cni/net.d that makes the plugin a node's default network. Kube-OVN puts one there itself, which is the
//! same but for the line that says whose it is; only ours is ever replaced or removed.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use serde_json::Value;

/// Some times larger than any list of plugins.
const MAX_SIZE: u64 = 1 << 20;
const KEY: &str = "installedBy";
const NO_CHECKSUM: &str = "0000000000000000";

/// What has the drop-in's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    /// What would be written.
    Same,
    /// As we wrote it some time ago, for another name of the plugin or in another version.
    Ours,
    /// Kube-OVN's or the user's, and it runs the plugin: there is nothing to do.
    Serves,
    /// Kube-OVN's or the user's, and it does not run the plugin.
    Another,
}

/// The drop-in for the plugin under this name.
pub(crate) fn render(plugin: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let text = format!(
        r#"{{
  "cniVersion": "0.3.1",
  "name": "kube-ovn",
  "{KEY}": "kube-ovn-offload {version}, checksum {NO_CHECKSUM}",
  "plugins": [
    {{
      "type": "{plugin}",
      "server_socket": "/run/openvswitch/kube-ovn-daemon.sock"
    }},
    {{
      "type": "portmap",
      "capabilities": {{
        "portMappings": true
      }}
    }}
  ]
}}
"#
    );
    text.replace(NO_CHECKSUM, &checksum(&text))
}

/// What is at `path`, when `plugin` is to be run.
pub(crate) fn look(path: &Path, plugin: &str) -> io::Result<Found> {
    let mut text = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(MAX_SIZE).read_to_end(&mut text)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    Ok(classify(&text, plugin))
}

fn classify(text: &[u8], plugin: &str) -> Found {
    let list: Value = serde_json::from_slice(text).unwrap_or_default();
    let runs = list.pointer("/plugins/0/type").and_then(Value::as_str) == Some(plugin);
    if text == render(plugin).as_bytes() {
        Found::Same
    } else if is_ours(text, &list) {
        Found::Ours
    } else if runs {
        Found::Serves
    } else {
        Found::Another
    }
}

/// Nobody has changed it since we wrote it.
fn is_ours(text: &[u8], list: &Value) -> bool {
    let Ok(text) = str::from_utf8(text) else { return false };
    let by = list.get(KEY).and_then(Value::as_str).unwrap_or_default();
    let Some((_, sum)) = by
        .strip_prefix("kube-ovn-offload ")
        .and_then(|by| by.rsplit_once(", checksum "))
    else {
        return false;
    };
    sum.len() == NO_CHECKSUM.len() && checksum(&text.replace(sum, NO_CHECKSUM)) == sum
}

/// FNV-1a of 64 bits. It tells what somebody has edited; nobody is kept from feigning it, who could write the file anyway.
fn checksum(text: &str) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_known_until_it_is_edited() {
        let text = render("kube-ovn");
        assert_eq!(classify(text.as_bytes(), "kube-ovn"), Found::Same);
        assert_eq!(classify(text.as_bytes(), "kube-ovn-offload"), Found::Ours);
        let edited = text.replace("0.3.1", "1.1.0");
        assert_eq!(classify(edited.as_bytes(), "kube-ovn"), Found::Serves);
        assert_eq!(classify(edited.as_bytes(), "kube-ovn-offload"), Found::Another);
        // of another version: the line alone is not what is compared with
        let other = text.replace(&format!("offload {}", env!("CARGO_PKG_VERSION")), "offload 9.9.9");
        let other = zeroed(&other).replace(NO_CHECKSUM, &checksum(&zeroed(&other)));
        assert_eq!(classify(other.as_bytes(), "kube-ovn"), Found::Ours);
    }

    /// The text without its checksum.
    fn zeroed(text: &str) -> String {
        let list: Value = serde_json::from_str(text).unwrap();
        let (_, sum) = list[KEY].as_str().unwrap().rsplit_once(' ').unwrap();
        text.replace(sum, NO_CHECKSUM)
    }

    #[test]
    fn it_is_kube_ovns_but_for_the_line_that_says_whose_it_is() {
        let mut ours: Value = serde_json::from_str(&render("kube-ovn")).unwrap();
        assert!(ours.as_object_mut().unwrap().remove(KEY).is_some());
        let theirs = include_str!("../../../conf/01-kube-ovn.conflist");
        assert_eq!(ours, serde_json::from_str::<Value>(theirs).unwrap());
        assert_eq!(classify(theirs.as_bytes(), "kube-ovn"), Found::Serves);
    }

    #[test]
    fn what_cannot_be_read_is_anothers() {
        for text in [
            &b""[..],
            b"{",
            b"\xff",
            b"[]",
            b"{\"installedBy\": 1}",
            b"{\"installedBy\": \"kube-ovn-offload 1, checksum \"}",
        ] {
            assert_eq!(classify(text, "kube-ovn"), Found::Another, "{text:?}");
        }
    }

    #[test]
    fn the_checksum_is_fnv_1a() {
        // the test vectors of the algorithm's authors
        assert_eq!(
            (checksum(""), checksum("a"), checksum("foobar")),
            (
                "cbf29ce484222325".to_owned(),
                "af63dc4c8601ec8c".to_owned(),
                "85944171f73967e8".to_owned(),
            )
        );
    }
}
