//! What `show` prints: columns and rows, aligned for people or as objects for scripts.
//!
//! Column names are the keys of the objects, so they are stable. Made by `telemetry::show`, printed by `cli::show`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Columns and rows; each row has a value for each column.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Names, in order.
    pub columns: Vec<String>,
    /// Values.
    pub rows: Vec<Vec<Value>>,
    /// Where to go on if there are more rows than one answer holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<usize>,
}

impl Table {
    /// No rows yet.
    pub fn new(columns: &[&str]) -> Table {
        Table { columns: columns.iter().map(ToString::to_string).collect(), rows: Vec::new(), next: None }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, values: [Value; N]) {
        debug_assert_eq!(N, self.columns.len(), "{:?}", self.columns);
        self.rows.push(values.into());
    }

    /// One object for each row.
    pub fn objects(&self) -> Value {
        let object = |row: &Vec<Value>| {
            let pairs = self.columns.iter().cloned().zip(row.iter().cloned());
            Value::Object(pairs.collect::<Map<_, _>>())
        };
        self.rows.iter().map(object).collect()
    }

    /// Aligned text with a head line: numbers to the right, all else to the left, no blanks at the end of a line.
    pub fn text(&self) -> String {
        let cells: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        let width = |at: usize| {
            let widths = cells.iter().filter_map(|row| row.get(at)).map(|c| c.chars().count());
            widths.chain(self.columns.get(at).map(|c| c.chars().count())).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let right = |at: usize| {
            self.rows.iter().all(|row| matches!(row.get(at), Some(Value::Number(_) | Value::Null)))
        };
        let rights: Vec<bool> =
            (0..self.columns.len()).map(|at| !self.rows.is_empty() && right(at)).collect();
        let line = |row: &[String]| {
            let mut line = String::new();
            for ((cell, &width), right) in row.iter().zip(&widths).zip(&rights) {
                let padded = if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
                line.push_str(&padded);
                line.push_str("  ");
            }
            line.truncate(line.trim_end().len());
            line.push('\n');
            line
        };
        let head = self.columns.iter().map(|c| c.to_uppercase()).collect::<Vec<_>>();
        std::iter::once(&head).chain(&cells).map(|row| line(row)).collect()
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_same_rows_for_people_and_for_scripts() {
        let mut table = Table::new(&["name", "packets", "hops", "up"]);
        table.row([json!("r0"), json!(5), json!(["a", "b"]), json!(true)]);
        table.row([json!("longer"), json!(12345), json!([]), Value::Null]);
        assert_eq!(
            table.text(),
            "NAME    PACKETS  HOPS  UP\nr0            5  a, b  yes\nlonger    12345        -\n"
        );
        let objects = json!([
            {"name": "r0", "packets": 5, "hops": ["a", "b"], "up": true},
            {"name": "longer", "packets": 12345, "hops": [], "up": null},
        ]);
        assert_eq!(table.objects(), objects);
    }

    #[test]
    fn an_empty_table_is_a_head_line() {
        assert_eq!(Table::new(&["dst", "dev"]).text(), "DST  DEV\n");
    }
}
