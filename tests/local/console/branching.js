// Which items are asked, and which need an answer, given the answers so far: the operations of a definition's conditions
// (shared/clinical/instruments/README.md), with the meaning that scoring gives them.

/** @import { Answers, Definition, Item, NumberPair, Operation, TableRow } from "./types.js" */

/** A number, or why there is none: an answer is missing, or the item is not asked. @typedef {number | "missing" | "hidden"} Value */

/** @typedef {{item: Item, needed: boolean}} Asked */

/**
 * The items that are asked, in the order of presentation. A condition refers to items before its own.
 * @param {Definition} definition
 * @param {Answers} answers
 * @returns {Asked[]}
 */
export function asked(definition, answers) {
  /** @type {Map<string, Value>} */
  const values = new Map();
  const items = [];
  for (const item of definition.items) {
    const holds = (/** @type {Operation} */ condition) => evaluate(condition, definition, values);
    if (item.enableWhen !== undefined && !isTrue(holds(item.enableWhen))) {
      values.set(item.id, "hidden");
      continue;
    }
    // A condition that cannot be evaluated, because an answer is missing, leaves the item needed.
    const needed = item.neededWhen === undefined || holds(item.neededWhen) !== 0;
    const value = numeric(item, definition, answers);
    values.set(item.id, value === "missing" && !needed ? "hidden" : value);
    items.push({ item, needed });
  }
  return items;
}

/**
 * The answers of items that are asked: an answer to another one would be refused.
 * @param {Definition} definition
 * @param {Answers} answers
 * @returns {Answers}
 */
export function answersToSend(definition, answers) {
  const ids = new Set(asked(definition, answers).map(({ item }) => item.id));
  return Object.fromEntries(Object.entries(answers).filter(([id]) => ids.has(id)));
}

/** @param {Value} value */
function isTrue(value) {
  return typeof value === "number" && value !== 0;
}

/**
 * An answer as scores see it.
 * @param {Item} item
 * @param {Definition} definition
 * @param {Answers} answers
 * @returns {Value}
 */
function numeric(item, definition, answers) {
  const answer = answers[item.id];
  if (typeof answer === "boolean") return answer ? 1 : 0;
  if (typeof answer !== "number") return "missing";
  const choice = (definition.codeLists?.[item.codes ?? ""] ?? []).find((choice) => choice.code === answer);
  if (choice?.countsAsMissing) return "missing";
  return choice?.countsAsNotAsked ? "hidden" : answer;
}

/**
 * @param {Operation} operation
 * @param {Definition} definition
 * @param {Map<string, Value>} values
 * @returns {Value}
 */
function evaluate(operation, definition, values) {
  if (typeof operation === "number") return operation;
  if (typeof operation === "string") return values.get(operation) ?? "missing";
  const of = (/** @type {Operation} */ part) => evaluate(part, definition, values);
  const { sum, mean, min, max, difference, linear, reverse, recode, lookup, combination, countAtLeast } = operation;
  const { round, atLeast, atMost, equals, all, any } = operation;
  if (sum) return list(sum.map(of), total);
  if (mean) return list(mean.map(of), (parts) => total(parts) / parts.length);
  if (min) return list(min.map(of), (parts) => Math.min(...parts));
  if (max) return list(max.map(of), (parts) => Math.max(...parts));
  if (difference) return pair(difference.map(of), (a, b) => a - b);
  if (linear) return map(of(linear.of), (value) => interpolated(value, linear.from, linear.to));
  if (reverse !== undefined) return map(of(reverse), (value) => reversed(value, reverse, definition));
  if (recode) return map(of(recode.of), (value) => recode.to.find(([from]) => from === value)?.[1]);
  if (lookup) {
    return map(of(lookup.of), (value) => lookup.table.find(([from, to]) => from <= value && value <= to)?.[2]);
  }
  if (combination) return combined(combination.of.map(of), definition.tables?.[combination.table] ?? []);
  if (countAtLeast) {
    const { least } = countAtLeast;
    return list(countAtLeast.of.map(of), (parts) => parts.filter((part) => part >= least).length);
  }
  if (round) {
    const factor = 10 ** (round.decimals ?? 0);
    return map(of(round.of), (value) => Math.round(value * factor) / factor);
  }
  if (atLeast) return comparison(atLeast.map(of), (a, b) => a >= b);
  if (atMost) return comparison(atMost.map(of), (a, b) => a <= b);
  if (equals) return comparison(equals.map(of), (a, b) => a === b);
  if (all) return logic(all.map(of), (parts) => parts.every(Boolean));
  if (any) return logic(any.map(of), (parts) => parts.some(Boolean));
  throw new Error(`this page cannot evaluate ${Object.keys(operation).join()}`);
}

/** @param {number[]} parts */
function total(parts) {
  return parts.reduce((sum, part) => sum + part, 0);
}

/**
 * @param {Value} value
 * @param {(value: number) => number | undefined} apply
 * @returns {Value}
 */
function map(value, apply) {
  return typeof value === "number" ? (apply(value) ?? "missing") : value;
}

/**
 * Parts that are not asked are ignored; one that is missing makes the result missing.
 * @param {Value[]} parts
 * @param {(parts: number[]) => number} apply
 * @returns {Value}
 */
function list(parts, apply) {
  if (parts.includes("missing")) return "missing";
  const known = parts.filter((part) => typeof part === "number");
  return known.length === 0 ? "hidden" : apply(known);
}

/**
 * @param {Value[]} parts
 * @param {(a: number, b: number) => number} apply
 * @returns {Value}
 */
function pair([a = "missing", b = "missing"], apply) {
  if (typeof a !== "number") return a;
  return typeof b !== "number" ? b : apply(a, b);
}

/**
 * False with a part that is not asked.
 * @param {Value[]} parts
 * @param {(a: number, b: number) => boolean} holds
 * @returns {Value}
 */
function comparison(parts, holds) {
  const value = pair(parts, (a, b) => (holds(a, b) ? 1 : 0));
  return value === "hidden" ? 0 : value;
}

/**
 * A part that is not asked is false.
 * @param {Value[]} parts
 * @param {(parts: boolean[]) => boolean} apply
 * @returns {Value}
 */
function logic(parts, apply) {
  if (parts.includes("missing")) return "missing";
  return apply(parts.map(isTrue)) ? 1 : 0;
}

/**
 * @param {number} value
 * @param {NumberPair} from
 * @param {NumberPair} to
 */
function interpolated(value, [a, b], [c, d]) {
  return c + ((value - a) * (d - c)) / (b - a);
}

/**
 * The value reversed within the range of the item.
 * @param {number} value
 * @param {Operation} operand
 * @param {Definition} definition
 */
function reversed(value, operand, definition) {
  const item = definition.items.find((item) => item.id === operand);
  if (!item) throw new Error("this page reverses items only");
  const choices = (definition.codeLists?.[item.codes ?? ""] ?? []).filter(
    (choice) => !choice.countsAsMissing && !choice.countsAsNotAsked,
  );
  const codes = item.type === "boolean" ? [0, 1] : choices.map((choice) => choice.code);
  const least = item.min ?? Math.min(...codes);
  const greatest = item.max ?? Math.max(...codes);
  return least + greatest - value;
}

/**
 * @param {Value[]} parts
 * @param {TableRow[]} rows
 * @returns {Value}
 */
function combined(parts, rows) {
  const row = rows.find(({ when }) =>
    when.every((cell, place) => {
      const part = parts[place];
      if (cell === null) return true;
      const [from, to] = Array.isArray(cell) ? cell : [cell, cell];
      return typeof part === "number" && from <= part && part <= to;
    }),
  );
  if (row) return row.value;
  return parts.includes("missing") ? "missing" : "hidden";
}
