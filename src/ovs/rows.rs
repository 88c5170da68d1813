//! Rows of the database for who only reads: several tables as they were at one moment.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::database::{is_uuid, map, set, text};

/// What is to be read: a table, and columns of it.
#[derive(Debug, Clone, Copy)]
pub struct Select<'a> {
    /// The table, as ovs-vswitchd.conf.db(5) names it.
    pub table: &'a str,
    /// Its columns.
    pub columns: &'a [&'a str],
}

/// A row of a table. A column that was not asked for, or has another type than the method's, is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(Map<String, Value>);

impl Row {
    /// The row's UUID, if the column `_uuid` was asked for.
    #[must_use]
    pub fn uuid(&self) -> String {
        self.uuids("_uuid").into_iter().next().unwrap_or_default()
    }

    /// Text; empty when there is none.
    #[must_use]
    pub fn text(&self, column: &str) -> String {
        text(&self.0, column)
    }

    /// An integer; of a set the first.
    #[must_use]
    pub fn integer(&self, column: &str) -> Option<i64> {
        self.members(column).first()?.as_i64()
    }

    /// A truth value; of a set the first.
    #[must_use]
    pub fn truth(&self, column: &str) -> Option<bool> {
        self.members(column).first()?.as_bool()
    }

    /// A map of text to text, as `external_ids` and `other_config` are.
    #[must_use]
    pub fn map(&self, column: &str) -> BTreeMap<String, String> {
        map(&self.0, column)
    }

    /// The rows that a column refers to.
    #[must_use]
    pub fn uuids(&self, column: &str) -> Vec<String> {
        let members = self.members(column).into_iter();
        let uuid = |member: &Value| member.get(1).and_then(Value::as_str).map(str::to_owned);
        members.filter(|member| is_uuid(member)).filter_map(uuid).collect()
    }

    fn members(&self, column: &str) -> Vec<&Value> {
        self.0.get(column).map(set).unwrap_or_default()
    }
}

impl From<Map<String, Value>> for Row {
    fn from(columns: Map<String, Value>) -> Self {
        Self(columns)
    }
}

impl Select<'_> {
    /// The operation of a transaction (RFC 7047, section 5.2.2).
    pub(super) fn operation(&self) -> Value {
        json!({"op": "select", "table": self.table, "where": [], "columns": self.columns})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns() {
        let Value::Object(columns) = json!({
            "_uuid": ["uuid", "5f0d"], "name": "br-int", "ofport": 7, "none": ["set", []], "lacp": ["set", [true]],
            "ports": ["set", [["uuid", "a"], ["uuid", "b"], "odd"]], "one": ["uuid", "c"], "ids": ["map", [["a", "1"]]]
        }) else {
            unreachable!()
        };
        let row = Row::from(columns);
        assert_eq!((row.uuid(), row.text("name")), ("5f0d".into(), "br-int".into()));
        assert_eq!(
            (row.integer("ofport"), row.integer("none"), row.integer("name")),
            (Some(7), None, None)
        );
        assert_eq!((row.truth("lacp"), row.truth("ofport")), (Some(true), None));
        assert_eq!(row.uuids("ports"), ["a", "b"]);
        assert_eq!(row.uuids("one"), ["c"]);
        assert!(row.uuids("name").is_empty() && row.uuids("missing").is_empty());
        assert_eq!(row.map("ids").get("a").map(String::as_str), Some("1"));
    }
}
