//! The versions of the protocol.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::env::Verb;
use super::keys::Keys;
use super::{Code, Failure};
use crate::types::Invalid;

/// A version of the CNI specification, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the versions")]
pub enum Version {
    V0_1_0,
    V0_2_0,
    V0_3_0,
    V0_3_1,
    V0_4_0,
    V1_0_0,
    V1_1_0,
}

impl Version {
    /// What we speak.
    pub const ALL: [Self; 7] = [
        Self::V0_1_0,
        Self::V0_2_0,
        Self::V0_3_0,
        Self::V0_3_1,
        Self::V0_4_0,
        Self::V1_0_0,
        Self::V1_1_0,
    ];
    pub(super) const LATEST: Self = Self::V1_1_0;

    /// As it stands in a netconf.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Version {
    type Err = Invalid;

    /// Only the very text: `1.0` and `v1.0.0` are no versions.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
            .ok_or_else(|| Invalid(format!("{text:?} is not a CNI version that this plugin speaks")))
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The answer to VERSION: a line, as skel prints it, in the version that the caller asks in, as the specification
/// has it. Whatever else is on stdin is not ours to judge.
pub(super) fn answer(conf: Option<&Keys>) -> Vec<u8> {
    let asked = conf.and_then(|conf| conf.string("cniVersion").ok()?.parse().ok());
    let answer = serde_json::json!({
        "cniVersion": asked.unwrap_or(Version::LATEST),
        "supportedVersions": Version::ALL,
    });
    format!("{answer}\n").into_bytes()
}

/// The netconf's `cniVersion` as it stands there; none means the first (`DecodeVersion` in the reference's
/// pkg/types/create/create.go).
pub(super) fn decode(conf: &Keys) -> Result<String, Failure> {
    let text = conf.string("cniVersion").map_err(|failure| Failure {
        msg: format!("decoding version from network config: {}", failure.msg),
        ..failure
    })?;
    Ok(if text.is_empty() {
        Version::V0_1_0.as_str().to_owned()
    } else {
        text
    })
}

/// Sees that we speak the netconf's version and that the version has the verb, with skel's texts.
pub(super) fn agree(verb: Verb, text: &str) -> Result<Version, Failure> {
    let since = match verb {
        Verb::Add | Verb::Del => None,
        Verb::Check => Some(("CHECK", Version::V0_4_0)),
        Verb::Gc => Some(("GC", Version::V1_1_0)),
        Verb::Status => Some(("STATUS", Version::V1_1_0)),
    };
    if let Some((name, since)) = since {
        // compared as numbers first, so that an unknown version gets the same answer as from skel
        let number = numbers(text)?;
        if number < numbers(since.as_str())? {
            let msg = format!("config version does not allow {name}");
            return Err(Failure::new(
                Code::IncompatibleVersion,
                msg,
                format!("config is {text:?}"),
            ));
        }
        if number > numbers(Version::LATEST.as_str())? {
            let msg = format!("plugin version does not allow {name}");
            return Err(Failure::new(
                Code::IncompatibleVersion,
                msg,
                format!("config is {text:?}"),
            ));
        }
    }
    text.parse().map_err(|_| {
        let supported = Version::ALL.map(|version| format!("{:?}", version.as_str())).join(" ");
        let details = format!("config is {text:?}, plugin supports [{supported}]");
        Failure::new(Code::IncompatibleVersion, "incompatible CNI versions", details)
    })
}

fn numbers(text: &str) -> Result<[i64; 3], Failure> {
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() > 3 {
        return Err(Failure::new(
            Code::Decode,
            format!("invalid version {text:?}: too many parts"),
            "",
        ));
    }
    let mut numbers = [0; 3];
    for ((number, part), which) in numbers.iter_mut().zip(parts).zip(["major", "minor", "micro"]) {
        *number = part.parse().map_err(|error| {
            Failure::new(
                Code::Decode,
                format!("failed to convert {which} version part {part:?}: {error}"),
                "",
            )
        })?;
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_the_numbers() {
        let mut sorted = Version::ALL;
        sorted.sort_by_key(|version| numbers(version.as_str()).unwrap());
        assert_eq!(sorted, Version::ALL);
        assert!(Version::ALL.is_sorted());
        assert_eq!(Version::ALL.last(), Some(&Version::LATEST));
    }

    #[test]
    fn only_the_very_text_is_a_version() {
        for version in Version::ALL {
            assert_eq!(version.as_str().parse(), Ok(version));
        }
        for text in ["", "1.0", "v1.0.0", "2.0.0", "1.1.0 ", "01.1.0"] {
            assert!(text.parse::<Version>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn verbs_and_versions_as_skel() {
        use Code::{Decode, IncompatibleVersion};
        for (verb, text, code, msg) in [
            (Verb::Add, "2.0.0", IncompatibleVersion, "incompatible CNI versions"),
            (Verb::Del, "1.0", IncompatibleVersion, "incompatible CNI versions"),
            (
                Verb::Check,
                "0.3.1",
                IncompatibleVersion,
                "config version does not allow CHECK",
            ),
            (
                Verb::Check,
                "2.0.0",
                IncompatibleVersion,
                "plugin version does not allow CHECK",
            ),
            (Verb::Check, "1.0", IncompatibleVersion, "incompatible CNI versions"),
            (
                Verb::Gc,
                "1.0.0",
                IncompatibleVersion,
                "config version does not allow GC",
            ),
            (
                Verb::Status,
                "1.0.0",
                IncompatibleVersion,
                "config version does not allow STATUS",
            ),
            (
                Verb::Status,
                "1.1.1",
                IncompatibleVersion,
                "plugin version does not allow STATUS",
            ),
            (
                Verb::Check,
                "1.0.0.0",
                Decode,
                "invalid version \"1.0.0.0\": too many parts",
            ),
        ] {
            let failure = agree(verb, text).unwrap_err();
            assert_eq!((failure.code, failure.msg.as_str()), (code, msg), "{verb:?} {text}");
        }
        let failure = agree(Verb::Check, "abc").unwrap_err();
        assert_eq!(failure.code, Decode);
        assert!(
            failure
                .msg
                .starts_with("failed to convert major version part \"abc\": "),
            "{}",
            failure.msg
        );
        let failure = agree(Verb::Add, "2.0.0").unwrap_err();
        assert_eq!(
            failure.details,
            "config is \"2.0.0\", plugin supports [\"0.1.0\" \"0.2.0\" \"0.3.0\" \"0.3.1\" \"0.4.0\" \"1.0.0\" \"1.1.0\"]"
        );
        assert_eq!(agree(Verb::Check, "0.4.0"), Ok(Version::V0_4_0));
        assert_eq!(agree(Verb::Gc, "1.1.0"), Ok(Version::V1_1_0));
    }

    #[test]
    fn the_answer_to_version() {
        let rest = "\"supportedVersions\":[\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n";
        assert_eq!(
            String::from_utf8(answer(None)).unwrap(),
            format!("{{\"cniVersion\":\"1.1.0\",{rest}")
        );
        let keys = Keys::from_json(b"{\"cniVersion\":\"0.3.1\"}").unwrap();
        let answer = String::from_utf8(answer(Some(&keys))).unwrap();
        assert_eq!(answer, format!("{{\"cniVersion\":\"0.3.1\",{rest}"));
    }
}
