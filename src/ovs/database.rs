//! A database: operations, and the notation of values (RFC 7047, sections 5.1 and 5.2).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::jsonrpc::Connection;
use super::{Error, MAX_WORDS, Select};
use crate::text::cut;

/// A row, as `select` gives it: columns by name.
pub(super) type Row = Map<String, Value>;

/// A connection to a server of databases, for one of them.
pub(super) struct Database {
    pub(super) connection: Connection,
    /// Which one.
    pub(super) name: &'static str,
}

/// What came of a transaction that begins with conditions.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All of it was done.
    Done,
    /// A condition does not hold (any more); nothing was done.
    ConditionFailed,
    /// A row that should go is referred to from elsewhere; nothing was done.
    InUse,
}

impl Database {
    /// The rows of a table that meet all conditions.
    pub(super) async fn select(&mut self, table: &str, condition: Value, columns: &[&str]) -> Result<Vec<Row>, Error> {
        let operation = json!({"op": "select", "table": table, "where": condition, "columns": columns});
        let mut results = self.transact(vec![operation]).await?;
        let rows = match results.first_mut() {
            Some(Value::Object(result)) if !result.contains_key("error") => result.remove("rows"),
            other => return Err(self.unexpected(other.as_deref())),
        };
        let Some(Value::Array(rows)) = rows else {
            return Err(self.unexpected(rows.as_ref()));
        };
        let rows = rows.into_iter().map(|row| match row {
            Value::Object(row) => Ok(row),
            other => Err(self.unexpected(Some(&other))),
        });
        rows.collect()
    }

    /// Rows of several tables, in one transaction.
    pub(super) async fn read(&mut self, selects: &[Select<'_>]) -> Result<Vec<Vec<super::Row>>, Error> {
        let mut results = self.transact(selects.iter().map(Select::operation).collect()).await?;
        if results.len() != selects.len() {
            return Err(self.unexpected(results.last()));
        }
        let tables = results
            .iter_mut()
            .map(|result| match result.get_mut("rows").map(Value::take) {
                Some(Value::Array(rows)) => Ok(rows),
                _ => Err(self.unexpected(Some(result))),
            });
        let mut read = Vec::new();
        for table in tables {
            let rows = table?.into_iter().map(|row| match row {
                Value::Object(columns) => Ok(columns.into()),
                other => Err(self.unexpected(Some(&other))),
            });
            read.push(rows.collect::<Result<_, _>>()?);
        }
        Ok(read)
    }

    /// Changes rows, all or none.
    pub(super) async fn change(&mut self, operations: Vec<Value>) -> Result<Outcome, Error> {
        let results = self.transact(operations).await?;
        let Some(failed) = results.iter().find(|result| result.get("error").is_some()) else {
            return Ok(Outcome::Done);
        };
        match failed.get("error").and_then(Value::as_str) {
            Some("timed out") => Ok(Outcome::ConditionFailed),
            Some("referential integrity violation") => Ok(Outcome::InUse),
            _ => Err(self.unexpected(Some(failed))),
        }
    }

    async fn transact(&mut self, operations: Vec<Value>) -> Result<Vec<Value>, Error> {
        let mut params = vec![json!(self.name)];
        params.extend(operations);
        match self.connection.call("transact", Value::Array(params)).await? {
            Value::Array(results) => Ok(results),
            other => Err(self.unexpected(Some(&other))),
        }
    }

    /// The error for an answer in a form that the protocol does not know, or that says that the database can't.
    pub(super) fn unexpected(&self, answer: Option<&Value>) -> Error {
        let text = answer.map_or_else(|| "nothing".to_owned(), Value::to_string);
        self.connection
            .no_reply("transact", format!("answered {}", cut(&text, MAX_WORDS)))
    }
}

/// The UUID of a row.
pub(super) fn uuid_of(row: &Row) -> Option<Value> {
    row.get("_uuid").filter(|value| is_uuid(value)).cloned()
}

/// Whether a value is `["uuid", …]`.
pub(super) fn is_uuid(value: &Value) -> bool {
    matches!(value.as_array().map(Vec::as_slice), Some([kind, Value::String(_)]) if kind == "uuid")
}

/// The members of a set; a set of one is written as its member.
pub(super) fn set(value: &Value) -> Vec<&Value> {
    match value.as_array().map(Vec::as_slice) {
        Some([kind, Value::Array(members)]) if kind == "set" => members.iter().collect(),
        _ => vec![value],
    }
}

/// A column that maps strings to strings; what is not of that form counts as empty.
pub(super) fn map(row: &Row, column: &str) -> BTreeMap<String, String> {
    let pairs = match row.get(column).and_then(Value::as_array).map(Vec::as_slice) {
        Some([kind, Value::Array(pairs)]) if kind == "map" => pairs.as_slice(),
        _ => &[],
    };
    let pair = |pair: &Value| match pair.as_array().map(Vec::as_slice) {
        Some([Value::String(key), Value::String(value)]) => Some((key.clone(), value.clone())),
        _ => None,
    };
    pairs.iter().filter_map(pair).collect()
}

/// A column of text; empty when there is none.
pub(super) fn text(row: &Row, column: &str) -> String {
    let value = row.get(column).map(set).unwrap_or_default();
    let first = value.first().and_then(|value| value.as_str());
    first.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: &Value) -> Row {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn values() {
        let one = row(&json!({
            "_uuid": ["uuid", "5f0d"], "name": "br-int", "none": ["set", []], "optional": ["set", ["x"]],
            "ids": ["map", [["a", "1"], ["b", ""], ["odd", 7]]], "wrong": ["map", "x"]
        }));
        assert_eq!(uuid_of(&one), Some(json!(["uuid", "5f0d"])));
        assert_eq!(text(&one, "name"), "br-int");
        assert_eq!(text(&one, "none"), "");
        assert_eq!(text(&one, "optional"), "x");
        assert_eq!(text(&one, "missing"), "");
        let ids: Vec<_> = map(&one, "ids").into_iter().collect();
        assert_eq!(ids, [("a".into(), "1".into()), ("b".into(), String::new())]);
        assert!(map(&one, "wrong").is_empty() && map(&one, "missing").is_empty());
        assert_eq!(uuid_of(&row(&json!({"_uuid": ["named-uuid", "x"]}))), None);
        assert_eq!(set(&json!(["uuid", "x"])).len(), 1);
        assert_eq!(set(&json!(["set", [["uuid", "x"], ["uuid", "y"]]])).len(), 2);
    }
}
