//! Operations: their parts resolved, their values told in advance.

use std::sync::Arc;

use num_traits::Zero;
use rust_decimal::Decimal;

use super::{CountsAs, LoadedKind, Loader};
use crate::definition::{Apply, Combination, Linear, Lookup, Missing, Number, Operation, Prorate, Recode};
use crate::exact::{self, Exact};
use crate::finding::pointer;
use crate::score::{Needed, Node, TableRow};

/// Numbers in a definition, and answers to numeric items, stay below this, so that exact arithmetic cannot overflow.
const GREATEST_NUMBER: i64 = 1_000_000;
/// Numbers in a definition have at most so many decimals, for the same reason.
pub(super) const MOST_DECIMALS: u32 = 4;
/// How many values, or combinations of values, a table may be checked for.
const LONGEST_TABLE: i64 = 1_000;

/// What values an operation can have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Part {
    pub(super) low: Exact,
    pub(super) high: Exact,
    /// Whether all of them are whole numbers.
    pub(super) whole: bool,
    /// Whether it may be nothing because it is not asked.
    pub(super) hideable: bool,
}

/// The missing-data rule of the score that is being loaded, and the lists that it applied to.
pub(super) struct Lists<'a> {
    pub(super) rule: Option<&'a Missing>,
    pub(super) applied: usize,
}

type Pair<T> = Box<(T, T)>;

impl<'a> Loader<'a> {
    pub(super) fn operation(
        &mut self,
        operation: &'a Operation,
        at: &str,
        lists: &mut Lists<'a>,
    ) -> Option<(Node, Part)> {
        match operation {
            Operation::Item(id) => match self.items.get(id) {
                Some((index, Some(part))) => Some((Node::Item(*index), *part)),
                Some((_, None)) => {
                    self.fault(
                        at,
                        "operation.type",
                        format!("item {id} is not a number"),
                        "compute with items of type code, integer, decimal or boolean",
                    );
                    None
                }
                None => {
                    self.fault(
                        at,
                        "operation.item",
                        format!("there is no item {id} here"),
                        "name an item of `items`; `enableWhen` may only name items that are asked before",
                    );
                    None
                }
            },
            Operation::Constant(number) => {
                let number = self.number(*number, at)?;
                Some((Node::Constant(number), Part::of(number, number)))
            }
            Operation::Apply(apply) => self.apply(apply, at, lists),
        }
    }

    fn apply(&mut self, apply: &'a Apply, at: &str, lists: &mut Lists<'a>) -> Option<(Node, Part)> {
        let (node, part) = match apply {
            Apply::Score(id) => {
                let at = pointer(at, "score");
                if !self.items_done {
                    self.fault(
                        at,
                        "operation.score",
                        "a score is not known while items are asked",
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
                (Node::Sum(nodes, needed), sum.map(|sum| Part { whole: sum.whole && needed == Needed::All, ..sum }))
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
                let part = ends.map(|(low, high)| Part {
                    hideable: parts.iter().all(|part| part.hideable),
                    ..Part::of(Exact::from_integer(low), Exact::from_integer(high))
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
                let part = ends.map(|(low, high)| Part {
                    low,
                    high,
                    whole: a.whole && b.whole,
                    hideable: a.hideable || b.hideable,
                });
                (Node::Difference(nodes), part)
            }
            Apply::Round(round) => {
                let at = pointer(at, "round");
                let (of, part) = self.operation(&round.of, &pointer(&at, "of"), lists)?;
                if round.decimals > MOST_DECIMALS {
                    self.fault(
                        pointer(&at, "decimals"),
                        "number.decimals",
                        "the number of decimals is out of range",
                        format!("set it from 0 to {MOST_DECIMALS}"),
                    );
                    return None;
                }
                let rounded = |number| exact::round_half_up(number, round.decimals).and_then(exact::from_decimal);
                let ends = rounded(part.low).zip(rounded(part.high));
                let whole = part.whole || round.decimals == 0;
                (Node::Round(Box::new(of), round.decimals), ends.map(|(low, high)| Part { low, high, whole, ..part }))
            }
            Apply::AtLeast(pair) => {
                (Node::AtLeast(self.compared(pair, &pointer(at, "atLeast"), lists, Exact::ge)?), Some(Part::truth()))
            }
            Apply::AtMost(pair) => {
                (Node::AtMost(self.compared(pair, &pointer(at, "atMost"), lists, Exact::le)?), Some(Part::truth()))
            }
            Apply::Equals(pair) => {
                (Node::Equals(self.compared(pair, &pointer(at, "equals"), lists, Exact::eq)?), Some(Part::truth()))
            }
            Apply::All(parts) => (Node::All(self.list(parts, &pointer(at, "all"), lists)?.0), Some(Part::truth())),
            Apply::Any(parts) => (Node::Any(self.list(parts, &pointer(at, "any"), lists)?.0), Some(Part::truth())),
        };
        if part.is_none() {
            self.too_large(at);
        }
        Some((node, part?))
    }

    fn linear(&mut self, linear: &'a Linear, at: &str, lists: &mut Lists<'a>) -> Option<(Node, Option<Part>)> {
        let of = self.operation(&linear.of, &pointer(at, "of"), lists);
        let from = self.pair(linear.from, &pointer(at, "from"));
        let to = self.pair(linear.to, &pointer(at, "to"));
        let ((of, part), from, to) = (of?, from?, to?);
        if from.0 == from.1 {
            self.fault(
                pointer(at, "from"),
                "operation.linear",
                "a line needs two different values",
                "give the least and the greatest value",
            );
            return None;
        }
        let line = slope_and_intercept(from, to);
        let (slope, intercept) = line.unwrap_or_default();
        let ends = line.and_then(|line| Some((on_line(part.low, line)?, on_line(part.high, line)?)));
        let part = ends.map(|(a, b)| Part {
            low: a.min(b),
            high: a.max(b),
            whole: part.whole && slope.is_integer() && intercept.is_integer(),
            ..part
        });
        Some((Node::Linear(Box::new(of), slope, intercept), part))
    }

    fn recode(&mut self, recode: &'a Recode, at: &str, lists: &mut Lists<'a>) -> Option<(Node, Option<Part>)> {
        let of = self.operation(&recode.of, &pointer(at, "of"), lists);
        let table: Vec<_> =
            recode.to.iter().enumerate().map(|(row, pair)| self.pair(*pair, &format!("{at}/to/{row}"))).collect();
        let (of, part) = of?;
        let table = table.into_iter().collect::<Option<Vec<_>>>()?;
        let values = self.whole_values(&recode.of, part, at)?;
        for (row, (from, _)) in table.iter().enumerate() {
            if table[..row].iter().any(|(before, _)| before == from) || !values.contains(from) {
                self.fault(
                    format!("{at}/to/{row}/0"),
                    "operation.recode",
                    format!("the value {from} is recoded before or cannot occur"),
                    "keep one row for each value that can occur",
                );
            }
        }
        if let Some(value) = values.iter().find(|value| !table.iter().any(|(from, _)| from == *value)) {
            self.fault(
                pointer(at, "to"),
                "operation.recode",
                format!("the value {value} is not recoded"),
                "add a row for each value that can occur",
            );
        }
        let part = range_of(table.iter().map(|(_, to)| *to), part.hideable);
        Some((Node::Recode(Box::new(of), table), part))
    }

    fn lookup(&mut self, lookup: &'a Lookup, at: &str, lists: &mut Lists<'a>) -> Option<(Node, Option<Part>)> {
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
        let values = self.whole_values(&lookup.of, part, at)?;
        for (row, (from, to, _)) in table.iter().enumerate() {
            let before = row.checked_sub(1).and_then(|before| table.get(before));
            if from > to || before.is_some_and(|(_, before, _)| from <= before) {
                self.fault(
                    format!("{at}/table/{row}"),
                    "operation.lookup",
                    "the row is empty or begins before the one above ends",
                    "keep the rows ascending, each from its least to its greatest value",
                );
            }
        }
        if let Some(value) =
            values.iter().find(|value| !table.iter().any(|(from, to, _)| from <= *value && *value <= to))
        {
            self.fault(
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
    ) -> Option<(Node, Option<Part>)> {
        let (nodes, parts) = self.list(&combination.of, &pointer(at, "of"), lists)?;
        let rows = self.table(&combination.table, parts.len(), at)?;
        let mut values = Vec::new();
        for (place, (of, part)) in combination.of.iter().zip(&parts).enumerate() {
            values.push(self.whole_values(of, *part, &format!("{at}/of/{place}"))?);
        }
        let combinations = values.iter().try_fold(1_usize, |product, values| product.checked_mul(values.len()));
        let Some(combinations) = combinations.filter(|number| i64::try_from(*number).is_ok_and(|n| n <= LONGEST_TABLE))
        else {
            self.fault(
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
            let told = known.iter().flatten().map(Exact::to_string).collect::<Vec<_>>().join(", ");
            let problem = match fitting.as_slice() {
                [_] => continue,
                [] => format!("the combination {told} is in no row"),
                [..] => format!("the combination {told} is in more than one row"),
            };
            self.fault(pointer(at, "table"), "operation.combination", problem, "put each combination in just one row");
            return None;
        }
        // A cell that takes no value is a fault of the table already.
        let is_possible = |row: &TableRow| row.cells.iter().flatten().all(|(from, to)| from <= to);
        if let Some(row) = (0..rows.len()).find(|row| !applied[*row] && is_possible(&rows[*row])) {
            self.fault(
                pointer(at, "table"),
                "operation.combination",
                format!("row {row} of the table never applies"),
                "remove the row, or correct its cells",
            );
        }
        let part = range_of(rows.iter().map(|row| row.value), parts.iter().any(|part| part.hideable));
        Some((Node::Combination(nodes, rows), part))
    }

    /// The rows of the table `name`, for so many parts.
    fn table(&mut self, name: &str, parts: usize, at: &str) -> Option<Arc<[TableRow]>> {
        let definition = self.definition;
        let Some((name, table)) = definition.tables.get_key_value(name) else {
            self.fault(
                pointer(at, "table"),
                "operation.combination",
                "there is no such table",
                "set `table` to the name of a table in `tables`",
            );
            return None;
        };
        self.tables_used.insert(name);
        if table.iter().any(|row| row.when.len() != parts) {
            self.fault(
                pointer(at, "table"),
                "operation.combination",
                format!("the table has rows that have not {parts} cells"),
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
            Some(TableRow { cells: cells.collect::<Option<_>>()?, value: exact(row.value)? })
        });
        rows.collect()
    }

    /// The numbers of the tables are within the limits, and each table is used.
    pub(super) fn check_tables(&mut self) {
        for (name, rows) in &self.definition.tables {
            let at = pointer("/tables", name);
            if !self.tables_used.contains(name.as_str()) {
                self.fault(&at, "table.unused", "nothing uses the table", "remove it, or name it in a combination");
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
                        self.fault(&at, "table.cell", "the cell takes no value", "write the least value first");
                    }
                }
                self.number(row.value, &format!("{at}/{index}/value"));
            }
        }
    }

    /// The values that the operand of a table can have; a fault if they are not whole numbers or too many to list.
    fn whole_values(&mut self, of: &Operation, part: Part, at: &str) -> Option<Vec<Exact>> {
        if let Operation::Item(id) = of
            && let Some(item) = self.definition.items.iter().find(|item| item.id == *id)
            && let Some(codes) = item.codes.as_ref().and_then(|name| self.definition.code_lists.get(name))
        {
            let codes = codes.iter().filter(|code| !code.counts_as_missing && !code.counts_as_not_asked);
            return Some(codes.map(|code| Exact::from_integer(code.code)).collect());
        }
        let (low, high) = (part.low.to_integer(), part.high.to_integer());
        if !part.whole || high.saturating_sub(low) > LONGEST_TABLE {
            self.fault(
                pointer(at, "of"),
                "operation.table",
                "a table is for whole numbers, and not too many",
                format!("round first; keep the values within a span of {LONGEST_TABLE}"),
            );
            return None;
        }
        Some((low..=high).map(Exact::from_integer).collect())
    }

    /// How many parts of a sum or mean are needed under the score's rule.
    fn needed(&mut self, lists: &mut Lists<'a>, parts: &[Part], sum: bool, at: &str) -> Needed {
        let Some(rule) = lists.rule else { return Needed::All };
        lists.applied += 1;
        if rule.min_answered == 0 || rule.min_answered >= parts.len() {
            self.fault(
                at,
                "missing.count",
                format!("at least {} of {} parts can be no rule", rule.min_answered, parts.len()),
                format!("set `minAnswered` from 1 to {}, or leave `missing` out", parts.len().saturating_sub(1)),
            );
        }
        match (sum, rule.prorate) {
            (true, None) => self.fault(
                at,
                "missing.prorate",
                "the sum of a part of the items would be too low",
                "set `prorate` to `mean`, or use a mean",
            ),
            (false, Some(_)) => self.fault(
                at,
                "missing.prorate",
                "a mean is not prorated: it is taken over what is there",
                "leave `prorate` out",
            ),
            (true, Some(Prorate::Mean))
                if parts.iter().any(|part| (part.low, part.high) != (parts[0].low, parts[0].high)) =>
            {
                self.fault(
                    at,
                    "missing.prorate",
                    "the parts have different ranges, so that the mean of some says nothing of others",
                    "bring the parts to one range first",
                );
            }
            _ => {}
        }
        Needed::AtLeast(rule.min_answered)
    }

    fn list(&mut self, parts: &'a [Operation], at: &str, lists: &mut Lists<'a>) -> Option<(Vec<Node>, Vec<Part>)> {
        if parts.is_empty() {
            self.fault(at, "operation.empty", "there is nothing to compute with", "list at least one part");
            return None;
        }
        let mut loaded = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let at = format!("{at}/{index}");
            if !matches!(part, Operation::Constant(_)) && parts[..index].contains(part) {
                self.fault(&at, "operation.repeated", "the part is in the list before", "list each part once");
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
    ) -> Option<(Pair<Node>, (Part, Part))> {
        let first = self.operation(&pair.0, &format!("{at}/0"), lists);
        let second = self.operation(&pair.1, &format!("{at}/1"), lists);
        let ((first, a), (second, b)) = (first?, second?);
        Some((Box::new((first, second)), (a, b)))
    }

    /// A comparison that can come out both ways.
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
            self.fault(
                at,
                "operation.never",
                format!("the comparison never holds: the values are from {} to {}", a.low, a.high),
                "compare with a value that can occur",
            );
        }
        Some(nodes)
    }

    fn pair(&mut self, pair: (Number, Number), at: &str) -> Option<(Exact, Exact)> {
        let first = self.number(pair.0, &format!("{at}/0"));
        let second = self.number(pair.1, &format!("{at}/1"));
        first.zip(second)
    }

    pub(super) fn number(&mut self, number: Number, at: &str) -> Option<Exact> {
        let fits = number.0.abs() <= Decimal::from(GREATEST_NUMBER) && number.0.normalize().scale() <= MOST_DECIMALS;
        let exact = fits.then(|| exact::from_decimal(number.0)).flatten();
        if exact.is_none() {
            self.fault(
                at,
                "number.limits",
                "the number is too large or has too many decimals",
                format!("keep within {GREATEST_NUMBER} and {MOST_DECIMALS} decimals"),
            );
        }
        exact
    }

    pub(super) fn too_large(&mut self, at: &str) {
        self.fault(
            at,
            "number.limits",
            "the computation can give numbers that are too large",
            "compute with smaller numbers or fewer decimals",
        );
    }
}

impl Part {
    fn of(low: Exact, high: Exact) -> Part {
        Part { low, high, whole: low.is_integer() && high.is_integer(), hideable: false }
    }

    fn truth() -> Part {
        Part::of(Exact::zero(), Exact::from_integer(1))
    }
}

/// What values an item can have in scores; `None` if it is not a number.
pub(super) fn values_of(kind: &LoadedKind, hideable: bool) -> Option<Part> {
    // What is beyond the limits is a fault already, and must not be one more by an overflow.
    let limit =
        |number: Exact| number.clamp(Exact::from_integer(-GREATEST_NUMBER), Exact::from_integer(GREATEST_NUMBER));
    let part = match kind {
        LoadedKind::Code(codes) => {
            let numbers = codes.iter().filter(|(_, counts_as)| *counts_as == CountsAs::Number);
            let hideable = hideable || codes.iter().any(|(_, counts_as)| *counts_as == CountsAs::NotAsked);
            range_of(numbers.map(|(code, _)| Exact::from_integer(*code)), hideable)
        }
        LoadedKind::Integer { min, max } | LoadedKind::Decimal { min, max, .. } => {
            let (low, high) = exact::from_decimal(*min).zip(exact::from_decimal(*max))?;
            Some(Part { low, high, whole: matches!(kind, LoadedKind::Integer { .. }), hideable })
        }
        LoadedKind::Boolean => Some(Part { hideable, ..Part::truth() }),
        LoadedKind::Codes(_) | LoadedKind::Text { .. } => None,
    };
    part.map(|part| Part { low: limit(part.low), high: limit(part.high), ..part })
}

fn range_of(values: impl Iterator<Item = Exact>, hideable: bool) -> Option<Part> {
    values.fold(None, |range: Option<Part>, value| {
        let before = range.unwrap_or(Part { hideable, ..Part::of(value, value) });
        Some(Part {
            low: before.low.min(value),
            high: before.high.max(value),
            whole: before.whole && value.is_integer(),
            hideable,
        })
    })
}

fn sum_of(parts: &[Part]) -> Option<Part> {
    let mut sum = Part { hideable: true, ..Part::of(Exact::zero(), Exact::zero()) };
    for part in parts {
        // A part that is not asked adds nothing.
        let (low, high) = if part.hideable {
            (part.low.min(Exact::zero()), part.high.max(Exact::zero()))
        } else {
            (part.low, part.high)
        };
        sum = Part {
            low: exact::add(sum.low, low)?,
            high: exact::add(sum.high, high)?,
            whole: sum.whole && part.whole,
            hideable: sum.hideable && part.hideable,
        };
    }
    Some(sum)
}

fn mean_of(parts: &[Part], needed: Needed) -> Option<Part> {
    let hideable = parts.iter().all(|part| part.hideable);
    if needed == Needed::All && !parts.iter().any(|part| part.hideable) {
        let sum = sum_of(parts)?;
        let count = Exact::from_integer(i64::try_from(parts.len()).ok()?);
        let (low, high) = (exact::divide(sum.low, count)?, exact::divide(sum.high, count)?);
        return Some(Part { low, high, whole: false, hideable });
    }
    let part = range_of(parts.iter().flat_map(|part| [part.low, part.high]), hideable)?;
    Some(Part { whole: false, ..part })
}

/// The values of the least of the parts.
fn least_of(parts: &[Part]) -> Part {
    let low = parts.iter().map(|part| part.low).min().unwrap_or_default();
    let always = parts.iter().filter(|part| !part.hideable).map(|part| part.high).min();
    let high = always.or_else(|| parts.iter().map(|part| part.high).max()).unwrap_or_default();
    Part { low, high, whole: parts.iter().all(|part| part.whole), hideable: parts.iter().all(|part| part.hideable) }
}

/// The values of the greatest of the parts.
fn greatest_of(parts: &[Part]) -> Part {
    let high = parts.iter().map(|part| part.high).max().unwrap_or_default();
    let always = parts.iter().filter(|part| !part.hideable).map(|part| part.low).max();
    let low = always.or_else(|| parts.iter().map(|part| part.low).min()).unwrap_or_default();
    Part { low, high, whole: parts.iter().all(|part| part.whole), hideable: parts.iter().all(|part| part.hideable) }
}

/// The combination of one of each of the `values` that has this `number`, counted from 0.
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
