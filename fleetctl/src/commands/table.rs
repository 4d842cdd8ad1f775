//! Tables, aligned as fleet's were.

use std::iter;

use crate::cli::Table;
use crate::error::Error;

/// A column that `--fields` can name.
pub(super) struct Column<T> {
    pub(super) name: &'static str,
    /// The text of its cell; the flag is `--full`.
    pub(super) cell: fn(&T, bool) -> String,
}

/// The columns that `--fields` names, in that order.
///
/// # Errors
/// In fleet's words.
pub(super) fn choose<'c, T>(columns: &'c [Column<T>], fields: &str) -> Result<Vec<&'c Column<T>>, Error> {
    let failed = |message: String| Error::Failed {
        what: "Error",
        message,
    };
    if fields.is_empty() {
        return Err(failed("Must define output format".to_owned()));
    }
    let column = |field: &str| {
        let known = || {
            columns
                .iter()
                .map(|column| column.name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let column = columns.iter().find(|column| column.name == field);
        column.ok_or_else(|| {
            failed(format!(
                "Invalid key in output format: {field:?}; there are: {}",
                known()
            ))
        })
    };
    fields.split(',').map(column).collect()
}

/// The whole table.
pub(super) fn render<T>(columns: &[&Column<T>], rows: &[T], table: Table) -> String {
    let legend = columns.iter().map(|column| column.name.to_uppercase()).collect();
    let cells = |row| {
        columns
            .iter()
            .map(|column| dashed((column.cell)(row, table.full)))
            .collect()
    };
    let lines: Vec<Vec<String>> = iter::once(legend)
        .skip(usize::from(table.no_legend))
        .chain(rows.iter().map(cells))
        .collect();
    align(&lines)
}

/// An empty cell would shift the others for whoever reads the table by its blanks.
fn dashed(cell: String) -> String {
    match cell.is_empty() {
        true => "-".to_owned(),
        false => cell,
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
