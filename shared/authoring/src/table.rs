//! Tables and lists for a terminal.

use std::fmt;

/// Aligns the columns of the rows: those of `right_aligned` to the right, the others to the left.
pub(crate) fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]], right_aligned: &[usize]) -> String {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            if right_aligned.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    });
    lines.collect()
}

/// Each item on an indented line of its own, after a line break.
pub(crate) fn listed<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(|item| format!("\n  {item}")).collect()
}
