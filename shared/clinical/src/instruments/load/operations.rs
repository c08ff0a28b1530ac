//! Operations: resolution of their parts, and the range of their values.

use std::sync::Arc;

use super::loader::{Lists, Loader, MOST_DECIMALS};
use super::range::{ValueRange, greatest_of, least_of, mean_of, range_of, sum_of};
use crate::document::{Number, pointer};
use crate::instruments::definition::{Apply, Combination, Linear, Lookup, Operation, Prorate, Recode};
use crate::instruments::exact::{self, Exact};
use crate::instruments::score::{LoadedRow, Needed, Node};

/// The maximum number of values, or combinations of values, that a table is checked for.
const LONGEST_TABLE: i64 = 1_000;

type Pair<T> = Box<(T, T)>;

impl<'a> Loader<'a> {
    pub(super) fn operation(
        &mut self,
        operation: &'a Operation,
        at: &str,
        lists: &mut Lists<'a>,
    ) -> Option<(Node, ValueRange)> {
        match operation {
            Operation::Item(id) => match self.items.get(id) {
                Some((index, Some(part))) => Some((Node::Item(*index), *part)),
                Some((_, None)) => {
                    self.faults.add(
                        at,
                        "operation.type",
                        format!("item {id} is not a number"),
                        "compute with items of type code, integer, decimal or boolean",
                    );
                    None
                }
                None => {
                    self.faults.add(
                        at,
                        "operation.item",
                        format!("there is no item {id} that can be used here"),
                        "use the id of an item in `items`; `enableWhen` can only use items that precede this one",
                    );
                    None
                }
            },
            Operation::Constant(number) => {
                let number = self.number(*number, at)?;
                Some((Node::Constant(number), ValueRange::of(number, number)))
            }
            Operation::Apply(apply) => self.apply(apply, at, lists),
        }
    }

    fn apply(&mut self, apply: &'a Apply, at: &str, lists: &mut Lists<'a>) -> Option<(Node, ValueRange)> {
        let (node, part) = match apply {
            Apply::Score(id) => {
                let at = pointer(at, "score");
                if !self.items_done {
                    self.faults.add(
                        at,
                        "operation.score",
                        "scores are not available in conditions of items",
                        "compute `enableWhen` from items",
                    );
                    return None;
                }
                let index = self.score_index(id, &at, "operation.score")?;
                (Node::Score(index), Some(self.load_score(index)?))
            }
            Apply::Sum(parts) => {
                let at = pointer(at, "sum");
                let (nodes, parts) = self.list(parts, &at, lists)?;
                let needed = self.needed(lists, &parts, true, &at);
                let sum = sum_of(&parts);
                (
                    Node::Sum(nodes, needed),
                    sum.map(|sum| ValueRange { integral: sum.integral && needed == Needed::All, ..sum }),
                )
            }
            Apply::Mean(parts) => {
                let at = pointer(at, "mean");
                let (nodes, parts) = self.list(parts, &at, lists)?;
                let needed = self.needed(lists, &parts, false, &at);
                (Node::Mean(nodes, needed), mean_of(&parts, needed))
            }
            Apply::Linear(linear) => self.linear(linear, &pointer(at, "linear"), lists)?,
            Apply::Reverse(of) => {
                let (of, part) = self.operation(of, &pointer(at, "reverse"), lists)?;
                let ends = exact::add(part.low, part.high);
                (Node::Linear(Box::new(of), Exact::from_integer(-1), ends.unwrap_or_default()), ends.map(|_| part))
            }
            Apply::Recode(recode) => self.recode(recode, &pointer(at, "recode"), lists)?,
            Apply::Lookup(lookup) => self.lookup(lookup, &pointer(at, "lookup"), lists)?,
            Apply::Combination(combination) => self.combination(combination, &pointer(at, "combination"), lists)?,
            Apply::CountAtLeast(count) => {
                let at = pointer(at, "countAtLeast");
                let least = self.number(count.least, &pointer(&at, "least"));
                let (nodes, parts) = self.list(&count.of, &pointer(&at, "of"), lists)?;
                let least = least?;
                let reachable = i64::try_from(parts.iter().filter(|part| part.high >= least).count());
                let certain = i64::try_from(parts.iter().filter(|part| part.low >= least && !part.hideable).count());
                let ends = certain.ok().zip(reachable.ok());
                let part = ends.map(|(low, high)| ValueRange {
                    hideable: parts.iter().all(|part| part.hideable),
                    ..ValueRange::of(Exact::from_integer(low), Exact::from_integer(high))
                });
                (Node::CountAtLeast(nodes, least), part)
            }
            Apply::Min(parts) => {
                let (nodes, parts) = self.list(parts, &pointer(at, "min"), lists)?;
                (Node::Min(nodes), Some(least_of(&parts)))
            }
            Apply::Max(parts) => {
                let (nodes, parts) = self.list(parts, &pointer(at, "max"), lists)?;
                (Node::Max(nodes), Some(greatest_of(&parts)))
            }
            Apply::Difference(pair) => {
                let (nodes, (a, b)) = self.two(pair, &pointer(at, "difference"), lists)?;
                let ends = exact::subtract(a.low, b.high).zip(exact::subtract(a.high, b.low));
                let part = ends.map(|(low, high)| ValueRange {
                    low,
                    high,
                    integral: a.integral && b.integral,
                    hideable: a.hideable || b.hideable,
                });
                (Node::Difference(nodes), part)
            }
            Apply::Round(round) => {
                let at = pointer(at, "round");
                let (of, part) = self.operation(&round.of, &pointer(&at, "of"), lists)?;
                if round.decimals > MOST_DECIMALS {
                    self.faults.add(
                        pointer(&at, "decimals"),
                        "number.decimals",
                        "the number of decimals is out of range",
                        format!("set it from 0 to {MOST_DECIMALS}"),
                    );
                    return None;
                }
                let rounded = |number| exact::round_half_up(number, round.decimals).and_then(exact::from_decimal);
                let ends = rounded(part.low).zip(rounded(part.high));
                let integral = part.integral || round.decimals == 0;
                (
                    Node::Round(Box::new(of), round.decimals),
                    ends.map(|(low, high)| ValueRange { low, high, integral, ..part }),
                )
            }
            Apply::AtLeast(pair) => (
                Node::AtLeast(self.compared(pair, &pointer(at, "atLeast"), lists, Exact::ge)?),
                Some(ValueRange::truth()),
            ),
            Apply::AtMost(pair) => (
                Node::AtMost(self.compared(pair, &pointer(at, "atMost"), lists, Exact::le)?),
                Some(ValueRange::truth()),
            ),
            Apply::Equals(pair) => (
                Node::Equals(self.compared(pair, &pointer(at, "equals"), lists, Exact::eq)?),
                Some(ValueRange::truth()),
            ),
            Apply::All(parts) => {
                (Node::All(self.list(parts, &pointer(at, "all"), lists)?.0), Some(ValueRange::truth()))
            }
            Apply::Any(parts) => {
                (Node::Any(self.list(parts, &pointer(at, "any"), lists)?.0), Some(ValueRange::truth()))
            }
        };
        if part.is_none() {
            self.too_large(at);
        }
        Some((node, part?))
    }

    fn linear(&mut self, linear: &'a Linear, at: &str, lists: &mut Lists<'a>) -> Option<(Node, Option<ValueRange>)> {
        let of = self.operation(&linear.of, &pointer(at, "of"), lists);
        let from = self.pair(linear.from, &pointer(at, "from"));
        let to = self.pair(linear.to, &pointer(at, "to"));
        let ((of, part), from, to) = (of?, from?, to?);
        if from.0 == from.1 {
            self.faults.add(
                pointer(at, "from"),
                "operation.linear",
                "`from` needs two different values",
                "give the least and the greatest value",
            );
            return None;
        }
        let line = slope_and_intercept(from, to);
        let (slope, intercept) = line.unwrap_or_default();
        let ends = line.and_then(|line| Some((on_line(part.low, line)?, on_line(part.high, line)?)));
        let part = ends.map(|(a, b)| ValueRange {
            low: a.min(b),
            high: a.max(b),
            integral: part.integral && slope.is_integer() && intercept.is_integer(),
            ..part
        });
        Some((Node::Linear(Box::new(of), slope, intercept), part))
    }

    fn recode(&mut self, recode: &'a Recode, at: &str, lists: &mut Lists<'a>) -> Option<(Node, Option<ValueRange>)> {
        let of = self.operation(&recode.of, &pointer(at, "of"), lists);
        let table: Vec<_> =
            recode.to.iter().enumerate().map(|(row, pair)| self.pair(*pair, &format!("{at}/to/{row}"))).collect();
        let (of, part) = of?;
        let table = table.into_iter().collect::<Option<Vec<_>>>()?;
        let values = self.integer_values(&recode.of, part, at)?;
        for (row, (from, _)) in table.iter().enumerate() {
            if table[..row].iter().any(|(before, _)| before == from) || !values.contains(from) {
                self.faults.add(
                    format!("{at}/to/{row}/0"),
                    "operation.recode",
                    format!("the value {from} is recoded twice or cannot occur"),
                    "keep one row for each value that can occur",
                );
            }
        }
        if let Some(value) = values.iter().find(|value| !table.iter().any(|(from, _)| from == *value)) {
            self.faults.add(
                pointer(at, "to"),
                "operation.recode",
                format!("the value {value} is not recoded"),
                "add a row for each value that can occur",
            );
        }
        let part = range_of(table.iter().map(|(_, to)| *to), part.hideable);
        Some((Node::Recode(Box::new(of), table), part))
    }

    fn lookup(&mut self, lookup: &'a Lookup, at: &str, lists: &mut Lists<'a>) -> Option<(Node, Option<ValueRange>)> {
        let of = self.operation(&lookup.of, &pointer(at, "of"), lists);
        let mut table = Vec::new();
        for (row, (from, to, value)) in lookup.table.iter().enumerate() {
            let at = format!("{at}/table/{row}");
            table.push((self.pair((*from, *to), &at), self.number(*value, &pointer(&at, 2))));
        }
        let (of, part) = of?;
        let table = table
            .into_iter()
            .map(|(pair, value)| pair.zip(value).map(|((from, to), value)| (from, to, value)))
            .collect::<Option<Vec<_>>>()?;
        let values = self.integer_values(&lookup.of, part, at)?;
        for (row, (from, to, _)) in table.iter().enumerate() {
            let before = row.checked_sub(1).and_then(|before| table.get(before));
            if from > to || before.is_some_and(|(_, before, _)| from <= before) {
                self.faults.add(
                    format!("{at}/table/{row}"),
                    "operation.lookup",
                    "the row is empty or overlaps the previous one",
                    "order the rows ascending, each from its least to its greatest value",
                );
            }
        }
        if let Some(value) =
            values.iter().find(|value| !table.iter().any(|(from, to, _)| from <= *value && *value <= to))
        {
            self.faults.add(
                pointer(at, "table"),
                "operation.lookup",
                format!("the value {value} is in no row"),
                "cover every value that can occur",
            );
        }
        let part = range_of(table.iter().map(|(_, _, value)| *value), part.hideable);
        Some((Node::Lookup(Box::new(of), table), part))
    }

    fn combination(
        &mut self,
        combination: &'a Combination,
        at: &str,
        lists: &mut Lists<'a>,
    ) -> Option<(Node, Option<ValueRange>)> {
        let (nodes, parts) = self.list(&combination.of, &pointer(at, "of"), lists)?;
        let rows = self.table(&combination.table, parts.len(), at)?;
        let mut values = Vec::new();
        for (place, (of, part)) in combination.of.iter().zip(&parts).enumerate() {
            values.push(self.integer_values(of, *part, &format!("{at}/of/{place}"))?);
        }
        let combinations = values.iter().try_fold(1_usize, |product, values| product.checked_mul(values.len()));
        let Some(combinations) = combinations.filter(|number| i64::try_from(*number).is_ok_and(|n| n <= LONGEST_TABLE))
        else {
            self.faults.add(
                pointer(at, "of"),
                "operation.table",
                "the parts have too many combinations to check",
                format!("keep within {LONGEST_TABLE} combinations"),
            );
            return None;
        };
        let mut applied = vec![false; rows.len()];
        for number in 0..combinations {
            let known = nth_combination(&values, number);
            let fitting: Vec<usize> = (0..rows.len()).filter(|row| rows[*row].applies(&known)).collect();
            fitting.iter().for_each(|row| applied[*row] = true);
            let shown = known.iter().flatten().map(Exact::to_string).collect::<Vec<_>>().join(", ");
            let problem = match fitting.as_slice() {
                [_] => continue,
                [] => format!("the combination {shown} is in no row"),
                [..] => format!("the combination {shown} is in more than one row"),
            };
            self.faults.add(
                pointer(at, "table"),
                "operation.combination",
                problem,
                "put each combination in exactly one row",
            );
            return None;
        }
        // Cells that match no value are reported with the table.
        let is_possible = |row: &LoadedRow| row.cells.iter().flatten().all(|(from, to)| from <= to);
        if let Some(row) = (0..rows.len()).find(|row| !applied[*row] && is_possible(&rows[*row])) {
            self.faults.add(
                pointer(at, "table"),
                "operation.combination",
                format!("row {row} of the table never applies"),
                "remove the row, or correct its cells",
            );
        }
        let part = range_of(rows.iter().map(|row| row.value), parts.iter().any(|part| part.hideable));
        Some((Node::Combination(nodes, rows), part))
    }

    /// The rows of the table `name` with one cell for each of `parts`.
    fn table(&mut self, name: &str, parts: usize, at: &str) -> Option<Arc<[LoadedRow]>> {
        let definition = self.definition;
        let Some((name, table)) = definition.tables.get_key_value(name) else {
            self.faults.add(
                pointer(at, "table"),
                "operation.combination",
                "there is no such table",
                "set `table` to the name of a table in `tables`",
            );
            return None;
        };
        self.tables_used.insert(name);
        if table.iter().any(|row| row.when.len() != parts) {
            self.faults.add(
                pointer(at, "table"),
                "operation.combination",
                format!("the table has rows with a number of cells other than {parts}"),
                "give each row a cell for each part",
            );
            return None;
        }
        let exact = |number: Number| exact::from_decimal(number.0);
        let rows = table.iter().map(|row| {
            let cells = row.when.iter().map(|cell| match cell {
                Some(cell) => Some(Some((exact(cell.from)?, exact(cell.to)?))),
                None => Some(None),
            });
            Some(LoadedRow { cells: cells.collect::<Option<_>>()?, value: exact(row.value)? })
        });
        rows.collect()
    }

    /// Checks that the numbers of the tables are within the limits, and that each table is used.
    pub(super) fn check_tables(&mut self) {
        for (name, rows) in &self.definition.tables {
            let at = pointer("/tables", name);
            if !self.tables_used.contains(name.as_str()) {
                self.faults.add(
                    &at,
                    "table.unused",
                    "no operation uses the table",
                    "remove it, or name it in a combination",
                );
            }
            for (index, row) in rows.iter().enumerate() {
                for (place, cell) in row.when.iter().enumerate() {
                    let at = format!("{at}/{index}/when/{place}");
                    let Some(cell) = cell else { continue };
                    self.number(cell.from, &at);
                    if cell.to != cell.from {
                        self.number(cell.to, &at);
                    }
                    if cell.from > cell.to {
                        self.faults.add(&at, "table.cell", "the cell matches no value", "write the least value first");
                    }
                }
                self.number(row.value, &format!("{at}/{index}/value"));
            }
        }
    }

    /// The values that the operand of a table can have. Adds a fault if they are not integers or are too many to list.
    fn integer_values(&mut self, of: &Operation, part: ValueRange, at: &str) -> Option<Vec<Exact>> {
        if let Operation::Item(id) = of
            && let Some(item) = self.definition.items.iter().find(|item| item.id == *id)
            && let Some(codes) = item.codes.as_ref().and_then(|name| self.definition.code_lists.get(name))
        {
            let codes = codes.iter().filter(|code| !code.counts_as_missing && !code.counts_as_not_asked);
            return Some(codes.map(|code| Exact::from_integer(code.code)).collect());
        }
        let (low, high) = (part.low.to_integer(), part.high.to_integer());
        if !part.integral || high.saturating_sub(low) > LONGEST_TABLE {
            self.faults.add(
                pointer(at, "of"),
                "operation.table",
                "a table needs integers, and a limited number of them",
                format!("round the operand, and keep its values within a span of {LONGEST_TABLE}"),
            );
            return None;
        }
        Some((low..=high).map(Exact::from_integer).collect())
    }

    /// The number of parts of a sum or mean that the score's missing-data rule requires.
    fn needed(&mut self, lists: &mut Lists<'a>, parts: &[ValueRange], sum: bool, at: &str) -> Needed {
        let Some(rule) = lists.rule else { return Needed::All };
        lists.applied += 1;
        if rule.min_answered == 0 || rule.min_answered >= parts.len() {
            self.faults.add(
                at,
                "missing.count",
                format!("at least {} of {} parts is not a valid rule", rule.min_answered, parts.len()),
                format!("set `minAnswered` from 1 to {}, or remove `missing`", parts.len().saturating_sub(1)),
            );
        }
        match (sum, rule.prorate) {
            (true, None) => self.faults.add(
                at,
                "missing.prorate",
                "a sum over some of the items would be too low",
                "set `prorate` to `mean`, or use a mean",
            ),
            (false, Some(_)) => self.faults.add(
                at,
                "missing.prorate",
                "a mean is not prorated: it is taken over the parts that have a value",
                "remove `prorate`",
            ),
            (true, Some(Prorate::Mean))
                if parts.iter().any(|part| (part.low, part.high) != (parts[0].low, parts[0].high)) =>
            {
                self.faults.add(
                    at,
                    "missing.prorate",
                    "the parts have different ranges, so that the mean of some cannot stand for the others",
                    "rescale the parts to one range first",
                );
            }
            _ => {}
        }
        Needed::AtLeast(rule.min_answered)
    }

    fn list(
        &mut self,
        parts: &'a [Operation],
        at: &str,
        lists: &mut Lists<'a>,
    ) -> Option<(Vec<Node>, Vec<ValueRange>)> {
        if parts.is_empty() {
            self.faults.add(at, "operation.empty", "the list is empty", "list at least one part");
            return None;
        }
        let mut loaded = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let at = format!("{at}/{index}");
            if !matches!(part, Operation::Constant(_)) && parts[..index].contains(part) {
                self.faults.add(&at, "operation.repeated", "the list has the part twice", "list each part once");
            }
            loaded.push(self.operation(part, &at, lists));
        }
        Some(loaded.into_iter().collect::<Option<Vec<_>>>()?.into_iter().unzip())
    }

    fn two(
        &mut self,
        pair: &'a (Operation, Operation),
        at: &str,
        lists: &mut Lists<'a>,
    ) -> Option<(Pair<Node>, (ValueRange, ValueRange))> {
        let first = self.operation(&pair.0, &format!("{at}/0"), lists);
        let second = self.operation(&pair.1, &format!("{at}/1"), lists);
        let ((first, a), (second, b)) = (first?, second?);
        Some((Box::new((first, second)), (a, b)))
    }

    /// A comparison, which must be able to hold.
    fn compared(
        &mut self,
        pair: &'a (Operation, Operation),
        at: &str,
        lists: &mut Lists<'a>,
        holds: impl Fn(&Exact, &Exact) -> bool,
    ) -> Option<Pair<Node>> {
        let (nodes, (a, b)) = self.two(pair, at, lists)?;
        let fixed = b.low == b.high;
        let reaches = [a.low, a.high, b.low.clamp(a.low, a.high)];
        if fixed && !reaches.iter().any(|value| holds(value, &b.low)) {
            self.faults.add(
                at,
                "operation.never",
                format!("the comparison never holds: the values range from {} to {}", a.low, a.high),
                "compare with a value that can occur",
            );
        }
        Some(nodes)
    }
}

/// The combination of one of each of `values` with the index `number`.
fn nth_combination(values: &[Vec<Exact>], mut number: usize) -> Vec<Option<Exact>> {
    let known = values.iter().map(|values| {
        let value = values[number % values.len()];
        number /= values.len();
        Some(value)
    });
    known.collect()
}

fn slope_and_intercept(from: (Exact, Exact), to: (Exact, Exact)) -> Option<(Exact, Exact)> {
    let slope = exact::divide(exact::subtract(to.1, to.0)?, exact::subtract(from.1, from.0)?)?;
    Some((slope, exact::subtract(to.0, exact::multiply(slope, from.0)?)?))
}

fn on_line(number: Exact, (slope, intercept): (Exact, Exact)) -> Option<Exact> {
    exact::add(exact::multiply(number, slope)?, intercept)
}
