//! JSON objects, read as laxly as Go reads them.

use serde_json::{Map, Value};

use super::{Code, Failure, lax};

/// Bytes of a netconf that are read; kubelet's and Multus' are below 10 KiB.
pub const MAX_NETCONF: usize = 1 << 20;

/// The keys of one object. Derived deserializers would refuse what Go's `encoding/json`, and so every other plugin,
/// takes: a key twice (the last counts), in other case, or `null` for nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    map: Map<String, Value>,
    /// Where the object stands, for messages: "" or `ipam.`
    prefix: String,
    lenient: bool,
}

impl Keys {
    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, Failure> {
        let decode = |why: &str| Failure::new(Code::Decode, format!("error unmarshall network config: {why}"), "");
        if bytes.len() > MAX_NETCONF {
            return Err(decode(&format!("more than {MAX_NETCONF} bytes on stdin")));
        }
        match lax::parse(bytes) {
            Ok(Value::Object(map)) => Ok(Self { map, ..Self::default() }),
            Ok(Value::Null) => Ok(Self::default()),
            Ok(other) => Err(decode(&format!("must be an object, found {}", kind(&other)))),
            Err(error) => Err(decode(&error.to_string())),
        }
    }

    /// The same keys, but a value of a wrong type is as good as none.
    pub(super) fn lenient(self) -> Self {
        Self { lenient: true, ..self }
    }

    pub(super) fn is_lenient(&self) -> bool {
        self.lenient
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.map
            .get(key)
            .or_else(|| {
                self.map
                    .iter()
                    .find(|(name, _)| lax::is_same_key(name, key))
                    .map(|(_, value)| value)
            })
            .filter(|value| !value.is_null())
    }

    fn wrong<T: Default>(&self, key: &str, expected: &str, found: &Value) -> Result<T, Failure> {
        if self.lenient {
            return Ok(T::default());
        }
        let msg = format!(
            "\"{}{key}\" in the network config must be {expected}, found {}",
            self.prefix,
            kind(found)
        );
        Err(Failure::new(Code::Decode, msg, ""))
    }

    /// A text; "" if there is none.
    pub(super) fn string(&self, key: &str) -> Result<String, Failure> {
        match self.get(key) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => self.wrong(key, "a string", other),
        }
    }

    /// An object within.
    pub(super) fn object(&self, key: &str) -> Result<Option<Self>, Failure> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(self.within(format!("{}{key}.", self.prefix), map))),
            Some(other) => self.wrong(key, "an object", other),
        }
    }

    /// An object within, as it is.
    pub(super) fn raw_object(&self, key: &str) -> Result<Option<Value>, Failure> {
        match self.get(key) {
            Some(other) if !other.is_object() => self.wrong(key, "an object", other),
            found => Ok(found.cloned()),
        }
    }

    /// A list of objects.
    pub(super) fn objects(&self, key: &str) -> Result<Vec<Self>, Failure> {
        let item = |(i, item): (usize, &Value)| {
            let map = item.as_object()?;
            Some(self.within(format!("{}{key}[{i}].", self.prefix), map))
        };
        self.list(key, "a list of objects", |items| {
            items.iter().enumerate().map(item).collect()
        })
    }

    /// Whether there is such a key, with a value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// A list of texts.
    pub(super) fn strings(&self, key: &str) -> Result<Vec<String>, Failure> {
        let item = |item: &Value| item.as_str().map(str::to_owned);
        self.list(key, "a list of strings", |items| items.iter().map(item).collect())
    }

    fn list<T>(&self, key: &str, expected: &str, read: impl Fn(&[Value]) -> Option<Vec<T>>) -> Result<Vec<T>, Failure> {
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(value) => match value.as_array().and_then(|items| read(items)) {
                Some(list) => Ok(list),
                None => self.wrong(key, expected, value),
            },
        }
    }

    fn within(&self, prefix: String, map: &Map<String, Value>) -> Self {
        Self {
            map: map.clone(),
            prefix,
            lenient: self.lenient,
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(json: &str) -> Keys {
        Keys::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn as_lax_as_go() {
        for (json, text) in [
            (r#"{"a":"x","a":"y"}"#, "y"),
            (r#"{"A":"x"}"#, "x"),
            (r#"{"A":"x","a":"y"}"#, "y"),
            (r#"{"a":"x","A":"y"}"#, "y"),
            (r#"{"a":"x","a":null}"#, "x"),
            (r#"{"a":"\ud800"}"#, "\u{fffd}"),
            (r#"{"a":null}"#, ""),
            ("null", ""),
            (" {} \n", ""),
        ] {
            assert_eq!(keys(json).string("a").unwrap(), text, "{json}");
        }
        let invalid_utf8 = Keys::from_json(b"{\"a\":\"x\xff\"}").unwrap();
        assert_eq!(invalid_utf8.string("a").unwrap(), "x\u{fffd}");
    }

    #[test]
    fn not_an_object() {
        let deep = "[".repeat(100_000);
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_NETCONF));
        for json in [
            "",
            " ",
            "{",
            "[]",
            "3",
            "\"x\"",
            "{} x",
            "{}{}",
            "\u{feff}{}",
            "{\"a\":1e999}",
            &deep,
            &long,
        ] {
            let failure = Keys::from_json(json.as_bytes()).unwrap_err();
            assert_eq!(failure.code, Code::Decode, "{}", failure.msg);
            assert!(
                failure.msg.starts_with("error unmarshall network config: "),
                "{}",
                failure.msg
            );
        }
    }

    #[test]
    fn a_wrong_type_is_told_with_its_place() {
        let keys = keys(r#"{"s":1,"o":[],"l":[1],"in":{"list":[{"x":true}]}}"#);
        let item = |keys: &Keys| keys.object("in").unwrap().unwrap().objects("list").unwrap().remove(0);
        for (failure, msg) in [
            (
                keys.string("s").unwrap_err(),
                "\"s\" in the network config must be a string, found a number",
            ),
            (
                keys.object("o").unwrap_err(),
                "\"o\" in the network config must be an object, found a list",
            ),
            (
                keys.raw_object("o").unwrap_err(),
                "\"o\" in the network config must be an object, found a list",
            ),
            (
                keys.strings("l").unwrap_err(),
                "\"l\" in the network config must be a list of strings, found a list",
            ),
            (
                keys.objects("s").unwrap_err(),
                "\"s\" in the network config must be a list of objects, found a number",
            ),
            (
                item(&keys).string("x").unwrap_err(),
                "\"in.list[0].x\" in the network config must be a string, found a boolean",
            ),
        ] {
            assert_eq!((failure.code, failure.msg.as_str()), (Code::Decode, msg));
        }
        let keys = keys.lenient();
        assert_eq!(keys.string("s").unwrap(), "");
        assert!(keys.object("o").unwrap().is_none());
        assert_eq!(item(&keys).string("x").unwrap(), "");
    }
}
