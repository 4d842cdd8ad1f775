//! Lists: tables aligned as fleet's were, and JSON.

use std::iter;

use serde_json::Value;

use crate::cli::{Output, Table};
use crate::error::Error;
use crate::text;

/// A column that `--fields` can name.
pub(super) struct Column<T> {
    pub(super) name: &'static str,
    /// The text of its cell; the flag is `--full`.
    pub(super) cell: fn(&T, bool) -> String,
    /// Its value in JSON, under the same name; null where there is none.
    pub(super) value: fn(&T) -> Value,
}

/// Everything a list can show.
pub(super) struct Columns<T: 'static> {
    pub(super) all: &'static [Column<T>],
    /// What a table has unless `--fields` says otherwise.
    pub(super) of_a_table: &'static str,
    /// What an object has unless `--fields` says otherwise.
    pub(super) of_an_object: &'static str,
}

/// A list, as it was asked for.
pub(super) struct List<T: 'static> {
    pub(super) columns: Vec<&'static Column<T>>,
    table: Table,
}

impl<T> Columns<T> {
    /// The columns that `--fields` names, in that order.
    ///
    /// # Errors
    /// In fleet's words.
    pub(super) fn choose(&self, fields: Option<String>, table: Table) -> Result<List<T>, Error> {
        let failed = |message: String| Error::Failed {
            what: "Error",
            message,
        };
        let fields = fields.as_deref().unwrap_or(match table.output {
            Output::Table => self.of_a_table,
            Output::Json => self.of_an_object,
        });
        if fields.is_empty() {
            return Err(failed("Must define output format".to_owned()));
        }
        let known = || {
            self.all
                .iter()
                .map(|column| column.name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let column = |field: &str| {
            let column = self.all.iter().find(|column| column.name == field);
            column.ok_or_else(|| {
                failed(format!(
                    "Invalid key in output format: {field:?}; there are: {}",
                    known()
                ))
            })
        };
        let columns = fields.split(',').map(column).collect::<Result<_, _>>()?;
        Ok(List { columns, table })
    }
}

impl<T> List<T> {
    /// The whole of it.
    pub(super) fn render(&self, rows: &[T]) -> String {
        match self.table.output {
            Output::Table => self.table(rows),
            Output::Json => self.json(rows),
        }
    }

    fn table(&self, rows: &[T]) -> String {
        let legend = self
            .columns
            .iter()
            .map(|column| column.name.to_uppercase())
            .collect();
        let cells = |row| {
            let cells = self
                .columns
                .iter()
                .map(|column| (column.cell)(row, self.table.full));
            cells.map(dashed).collect()
        };
        let lines: Vec<Vec<String>> = iter::once(legend)
            .skip(usize::from(self.table.no_legend))
            .chain(rows.iter().map(cells))
            .collect();
        align(&lines)
    }

    fn json(&self, rows: &[T]) -> String {
        let object = |row| {
            let pairs = self
                .columns
                .iter()
                .map(|column| (column.name.to_owned(), (column.value)(row)));
            Value::Object(pairs.collect())
        };
        let array = Value::Array(rows.iter().map(object).collect());
        format!("{array:#}\n")
    }
}

/// Text for JSON: what is empty is not known, or not there.
pub(super) fn text_or_null(text: &str) -> Value {
    match text.is_empty() {
        true => Value::Null,
        false => text.into(),
    }
}

/// An empty cell would shift the others for whoever reads the table by its blanks, and a line feed in one would look like
/// a row: other programs may have written what it says.
fn dashed(cell: String) -> String {
    match cell.is_empty() {
        true => "-".to_owned(),
        false => text::one_line(&cell),
    }
}

/// Aligns cells by tabs of 8 columns, as Go's tabwriter does: at least one blank wide, nothing after the last cell.
fn align(lines: &[Vec<String>]) -> String {
    const TAB: usize = 8;
    let width = |cell: &String| cell.chars().count();
    let mut stops: Vec<usize> = Vec::new();
    for line in lines {
        stops.resize(stops.len().max(line.len()), 0);
        for (stop, cell) in stops.iter_mut().zip(line) {
            *stop = (*stop).max((width(cell) + 1).next_multiple_of(TAB));
        }
    }
    let mut text = String::new();
    for line in lines {
        for (index, (cell, stop)) in line.iter().zip(&stops).enumerate() {
            text.push_str(cell);
            if index + 1 < line.len() {
                text.extend(iter::repeat_n('\t', (stop - width(cell)).div_ceil(TAB)));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_aligned_by_tabs() {
        let table: [(&[&[&str]], &str); 4] = [
            (&[], ""),
            (&[&["A", "B"]], "A\tB\n"),
            (&[&["1234567", "x"], &["1", "y"]], "1234567\tx\n1\ty\n"),
            (
                &[&["12345678", "x"], &["1", "y"], &["é2345678", "z"]],
                "12345678\tx\n1\t\ty\né2345678\tz\n",
            ),
        ];
        for (lines, text) in table {
            let lines: Vec<Vec<String>> = lines
                .iter()
                .map(|line| line.iter().map(|cell| cell.to_string()).collect())
                .collect();
            assert_eq!(align(&lines), text, "{lines:?}");
        }
    }
}
