//! The files of conf/ as values: YAML and JSON become the same.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use yaml_rust2::{Yaml, YamlLoader};

/// conf/.
pub(crate) fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf")
}

/// A file of conf/.
pub(crate) fn read(name: &str) -> String {
    std::fs::read_to_string(top().join(name)).unwrap_or_else(|error| panic!("conf/{name}: {error}"))
}

/// One YAML document of conf/.
#[derive(Debug)]
pub(crate) struct Document {
    /// Its file, below conf/.
    pub(crate) file: String,
    pub(crate) value: Value,
}

impl Document {
    pub(crate) fn kind(&self) -> &str {
        self.value["kind"].as_str().unwrap_or_default()
    }

    /// `namespace/name`, without a namespace `/name`.
    pub(crate) fn name(&self) -> String {
        let word = |key: &str| self.value["metadata"][key].as_str().unwrap_or_default();
        format!("{}/{}", word("namespace"), word("name"))
    }

    /// The text of an annotation.
    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.value["metadata"]["annotations"][key].as_str()
    }

    /// The folder of its file: what is applied together.
    pub(crate) fn folder(&self) -> &str {
        self.file.split_once('/').map_or("", |(folder, _)| folder)
    }

    /// The JSON in this text of the document.
    pub(crate) fn json(&self, pointer: &str) -> Value {
        let text = self.value.pointer(pointer).and_then(Value::as_str);
        let text = text.unwrap_or_else(|| panic!("{}: no text at {pointer}", self.file));
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{}: {pointer}: {error}", self.file))
    }
}

/// Every YAML document of conf/.
pub(crate) fn documents() -> Vec<Document> {
    let mut documents = Vec::new();
    for file in files("yaml") {
        documents.extend(yaml(&read(&file), &file).into_iter().map(|value| Document {
            file: file.clone(),
            value,
        }));
    }
    documents
}

/// The documents of a text; `file` is for the complaint.
pub(crate) fn yaml(text: &str, file: &str) -> Vec<Value> {
    let parsed = YamlLoader::load_from_str(text).unwrap_or_else(|error| panic!("{file}: {error}"));
    parsed.iter().map(|document| value(document, file)).collect()
}

/// The files of conf/ that end in this, below conf/.
pub(crate) fn files(extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![top()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path.strip_prefix(top()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Kubernetes reads YAML as JSON: a key that is no string, or an anchor, would be a mistake.
fn value(yaml: &Yaml, file: &str) -> Value {
    match yaml {
        Yaml::Null => Value::Null,
        Yaml::Boolean(value) => Value::from(*value),
        Yaml::Integer(value) => Value::from(*value),
        Yaml::Real(text) => Value::from(text.parse::<f64>().unwrap()),
        Yaml::String(text) => Value::from(text.as_str()),
        Yaml::Array(items) => items.iter().map(|item| value(item, file)).collect(),
        Yaml::Hash(entries) => {
            let entry = |(key, item): (&Yaml, &Yaml)| {
                let key = key.as_str().unwrap_or_else(|| panic!("{file}: key {key:?}"));
                (key.to_owned(), value(item, file))
            };
            Value::Object(entries.iter().map(entry).collect::<Map<_, _>>())
        }
        Yaml::Alias(_) | Yaml::BadValue => panic!("{file}: {yaml:?}"),
    }
}
