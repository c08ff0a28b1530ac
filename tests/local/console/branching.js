// Which items are asked, and which need an answer, given the answers so far: the operations of a definition's conditions
// (shared/clinical/instruments/README.md), with the meaning that scoring gives them.

/** @import { Answers, Definition, Item, Operation } from "./types.js" */

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
  const ids = asked(definition, answers).map(({ item }) => item.id);
  return Object.fromEntries(ids.filter((id) => id in answers).map((id) => [id, /** @type {any} */ (answers[id])]));
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
  const [[name, argument] = ["", null]] = Object.entries(operation);
  switch (name) {
    case "sum":
      return list(argument.map(of), (parts) => parts.reduce((sum, part) => sum + part, 0));
    case "mean":
      return list(argument.map(of), (parts) => parts.reduce((sum, part) => sum + part, 0) / parts.length);
    case "min":
      return list(argument.map(of), (parts) => Math.min(...parts));
    case "max":
      return list(argument.map(of), (parts) => Math.max(...parts));
    case "countAtLeast":
      return list(argument.of.map(of), (parts) => parts.filter((part) => part >= argument.least).length);
    case "difference":
      return pair(argument.map(of), (a, b) => a - b);
    case "atLeast":
      return comparison(argument.map(of), (a, b) => a >= b);
    case "atMost":
      return comparison(argument.map(of), (a, b) => a <= b);
    case "equals":
      return comparison(argument.map(of), (a, b) => a === b);
    case "all":
      return logic(argument.map(of), (parts) => parts.every(Boolean));
    case "any":
      return logic(argument.map(of), (parts) => parts.some(Boolean));
    case "linear":
      return map(of(argument.of), (value) => linear(value, argument.from, argument.to));
    case "reverse":
      return map(of(argument), (value) => reverse(value, argument, definition));
    case "recode":
      return map(of(argument.of), (value) => argument.to.find((/** @type {number[]} */ [from]) => from === value)?.[1]);
    case "lookup":
      return map(of(argument.of), (value) => {
        const row = argument.table.find((/** @type {number[]} */ [from = 0, to = 0]) => from <= value && value <= to);
        return row?.[2];
      });
    case "round":
      return map(of(argument.of), (value) => {
        const factor = 10 ** (argument.decimals ?? 0);
        return Math.round(value * factor) / factor;
      });
    case "combination":
      return combination(argument.of.map(of), definition.tables?.[argument.table] ?? []);
    default:
      throw new Error(`this page cannot evaluate ${name}`);
  }
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
 * @param {[number, number]} from
 * @param {[number, number]} to
 */
function linear(value, [a, b], [c, d]) {
  return c + ((value - a) * (d - c)) / (b - a);
}

/**
 * The value reversed within the range of the item.
 * @param {number} value
 * @param {Operation} operand
 * @param {Definition} definition
 */
function reverse(value, operand, definition) {
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
 * @param {NonNullable<Definition["tables"]>[string]} rows
 * @returns {Value}
 */
function combination(parts, rows) {
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
