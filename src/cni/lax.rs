//! JSON as Go's `encoding/json` reads it into structs, where serde would refuse it or read something else: the other plugins of a
//! list are written in Go, and so is the stock one. What Go does was seen with loopback of containernetworking-plugins 1.1.1.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads one JSON value, and nothing may come after it. Of several keys that differ in case only, the last that is not `null`
/// counts; objects under them are united. Bytes that are no UTF-8 and halves of surrogate pairs become U+FFFD.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let text = String::from_utf8_lossy(bytes);
    let Lax(value) = serde_json::from_str(&whole_surrogates(&text))?;
    Ok(value)
}

/// Whether Go takes one key for the other: case does not count, and two letters beyond ASCII fold to one of it, ſ (U+017F) and
/// the Kelvin sign (U+212A); see `foldFunc` in Go's encoding/json/fold.go.
pub(super) fn is_same_key(one: &str, other: &str) -> bool {
    one.chars().map(folded).eq(other.chars().map(folded))
}

fn folded(c: char) -> char {
    match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    }
}

/// A value, read in this way.
struct Lax(Value);

impl<'de> Deserialize<'de> for Lax {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Lax(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        let mut spelled = BTreeMap::new(); // as the map has it
        while let Some((key, Lax(value))) = entries.next_entry::<String, Lax>()? {
            let spelling = spelled
                .entry(key.chars().map(folded).collect::<String>())
                .or_insert(key);
            match map.get_mut(spelling) {
                Some(earlier) => replace(earlier, value),
                None => drop(map.insert(spelling.clone(), value)),
            }
        }
        Ok(map.into())
    }
}

/// What a key that comes again does to what was read. Keys of inner objects that differ in case are rare enough to stay two.
fn replace(earlier: &mut Value, later: Value) {
    match (earlier, later) {
        (_, Value::Null) => {}
        (Value::Object(earlier), Value::Object(later)) => {
            for (key, value) in later {
                replace(earlier.entry(key).or_insert(Value::Null), value);
            }
        }
        (earlier, later) => *earlier = later,
    }
}

/// The escapes of half a surrogate pair replaced, which are no JSON for serde.
fn whole_surrogates(text: &str) -> Cow<'_, str> {
    let mut mended = String::new();
    let mut rest = text;
    // an escape is the backslash and what is behind it, whatever that is: of two backslashes the second begins none
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        mended.push_str(before);
        let length = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                mended.push_str("\\ufffd");
                rest = escape.get(6..).unwrap_or_default();
                continue;
            }
            (Some(_), _) => 6,
            (None, _) => 1 + escape.chars().nth(1).map_or(0, char::len_utf8),
        };
        let (escape, after) = escape.split_at(length);
        mended.push_str(escape);
        rest = after;
    }
    if mended.is_empty() {
        return text.into();
    }
    mended.push_str(rest);
    mended.into()
}

/// The number in `\uXXXX` at the beginning of a text.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None; // from_str_radix takes a sign
    }
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_that_come_again() {
        for (text, wanted) in [
            (r#"{"a":1,"A":2}"#, json!({"a": 2})),
            (r#"{"A":1,"a":2,"a":3}"#, json!({"A": 3})),
            (r#"{"a":1,"A":null}"#, json!({"a": 1})),
            (r#"{"a":null,"A":1}"#, json!({"a": 1})),
            (
                r#"{"a":{"x":1,"y":[1]},"a":{"y":[2],"z":{}}}"#,
                json!({"a": {"x": 1, "y": [2], "z": {}}}),
            ),
            (r#"{"a":{"x":1},"a":2}"#, json!({"a": 2})),
            (
                r#"{"o":[{"a":1,"A":2},true,-1,1.5,null]}"#,
                json!({"o": [{"a": 2}, true, -1, 1.5, null]}),
            ),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap(), wanted, "{text}");
        }
        // many keys, in no more time than the text is long
        let many = (0..100_000).fold(String::from("{\"a\":1"), |text, n| text + &format!(",\"{n}\":1"));
        assert_eq!(
            parse((many + "}").as_bytes()).unwrap().as_object().unwrap().len(),
            100_001
        );
    }

    #[test]
    fn case() {
        for (one, other, same) in [
            ("cniVersion", "CNIVERSION", true),
            ("cniVersion", "cniVer\u{17f}ion", true),
            ("provider_k", "provider_\u{212a}", true),
            ("name", "nam\u{e9}", false),
            ("name", "names", false),
            ("\u{e4}", "\u{c4}", false),
        ] {
            assert_eq!(is_same_key(one, other), same, "{one} {other}");
        }
    }

    #[test]
    fn surrogates() {
        for (text, wanted) in [
            (r"\ud800", "\u{fffd}"),
            (r"\uDC00\uD83D\uDE00x", "\u{fffd}\u{1f600}x"),
            (r"\ud800\ud83d\ude00", "\u{fffd}\u{1f600}"),
            (r"\ud800\u0041", "\u{fffd}A"),
            (r"\\ud800\\\ud800", "\\ud800\\\u{fffd}"),
            (r"\n\u00e9", "\n\u{e9}"),
        ] {
            assert_eq!(parse(format!("\"{text}\"").as_bytes()).unwrap(), wanted, "{text}");
        }
        for text in [r"\u+123", r"\ud8", r"\ud800\u12", r"\", r"\é", "\\u12é4"] {
            assert!(parse(format!("\"{text}\"").as_bytes()).is_err(), "{text}");
        }
    }
}
