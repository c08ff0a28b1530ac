//! Tables for a terminal.

/// The rows as lines whose columns line up: the columns of `right_aligned` end together, the others begin together.
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
