//! What `show` prints: columns and rows, aligned for people or as objects for scripts.
//!
//! Column names are the keys of the objects, so they are stable. Objects have numbers where the kernel has numbers; the
//! text has iproute2's words for them. Made by `telemetry::show`, printed by `cli::show`.

use super::words;
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

    /// Aligned text with a head line, in iproute2's words: numbers to the right, all else to the left, no blanks at the end of a line.
    pub fn text(&self) -> String {
        let known: Vec<_> = self.columns.iter().map(|column| words::of(column)).collect();
        let cells =
            |row: &Vec<Value>| row.iter().zip(&known).map(|(value, &known)| cell(value, known)).collect();
        let cells: Vec<Vec<String>> = self.rows.iter().map(cells).collect();
        let width = |at: usize| {
            let widths = cells.iter().filter_map(|row| row.get(at)).map(|c| c.chars().count());
            widths.chain(self.columns.get(at).map(|c| c.chars().count())).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let right = |at: usize| {
            let named = known.get(at).is_some_and(Option::is_some);
            !named && self.rows.iter().all(|row| matches!(row.get(at), Some(Value::Number(_) | Value::Null)))
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

fn cell(value: &Value, known: Option<&[(u64, &str)]>) -> String {
    let named = |(number, _): &&(u64, &str)| value.as_u64() == Some(*number);
    if let Some((_, word)) = known.and_then(|words| words.iter().find(named)) {
        return (*word).to_owned();
    }
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Array(items) => items.iter().map(|item| cell(item, None)).collect::<Vec<_>>().join(", "),
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
    fn people_read_words_and_scripts_numbers() {
        let mut table = Table::new(&["table", "proto", "scope", "metric"]);
        table.row([json!(254), json!(2), json!(253), json!(254)]);
        table.row([json!(77), json!(77), json!(77), json!(2)]);
        table.row([Value::Null, json!(186), json!(0), json!(0)]);
        let text = "TABLE  PROTO   SCOPE   METRIC\n\
                    main   kernel  link       254\n\
                    77     77      77           2\n\
                    -      bgp     global       0\n";
        assert_eq!(table.text(), text);
        let first = json!({"table": 254, "proto": 2, "scope": 253, "metric": 254});
        assert_eq!(table.objects()[0], first);
    }

    #[test]
    fn an_empty_table_is_a_head_line() {
        assert_eq!(Table::new(&["dst", "dev"]).text(), "DST  DEV\n");
    }
}
