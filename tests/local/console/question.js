// One question: a control by the item's type, with a group's legend or a label.

import { h } from "./dom.js";
import { current, own, ownTag, t } from "./i18n.js";

/** @import { Answer, Choice, Definition, Item, Texts } from "./types.js" */

/** A scale of at most this many whole numbers is shown as buttons, as on paper. */
const SCALE = 11;

/**
 * @param {Definition} definition
 * @param {Item} item
 * @param {Answer | undefined} answer
 * @param {(answer: Answer | undefined) => void} changed
 * @returns {HTMLElement}
 */
export function question(definition, item, answer, changed) {
  switch (item.type) {
    case "code":
      return group(item, choicesOf(definition, item), answer, "radio", (codes) => changed(codes[0]));
    case "codes":
      return group(item, choicesOf(definition, item), answer, "checkbox", (codes) =>
        changed(codes.length ? codes : undefined),
      );
    case "boolean": {
      const yesNo = [
        { code: 1, label: t("question.yes"), lang: current() },
        { code: 0, label: t("question.no"), lang: current() },
      ];
      const code = typeof answer === "boolean" ? Number(answer) : answer;
      return group(item, yesNo, code, "radio", (codes) => changed(codes[0] === undefined ? undefined : codes[0] === 1));
    }
    case "integer": {
      const { min = 0, max = 0 } = item;
      if (max - min >= SCALE) return numberField(item, answer, changed);
      const scale = Array.from({ length: max - min + 1 }, (_, step) => ({
        code: min + step,
        label: String(min + step),
        lang: current(),
      }));
      return group(item, scale, answer, "radio", (codes) => changed(codes[0]), "scale");
    }
    case "decimal":
      return numberField(item, answer, changed);
    case "text":
      return textField(item, answer, changed);
  }
}

/**
 * What an answer says, for the review.
 * @param {Definition} definition
 * @param {Item} item
 * @param {Answer | undefined} answer
 */
export function answerText(definition, item, answer) {
  if (answer === undefined) return t("question.skipped");
  if (typeof answer === "boolean") return answer ? t("question.yes") : t("question.no");
  const codes = Array.isArray(answer) ? answer : [answer];
  const choices = definition.codeLists?.[item.codes ?? ""];
  if (!choices) return String(answer);
  return codes.map((code) => own(choices.find((choice) => choice.code === code)?.text) || String(code)).join(", ");
}

/**
 * The item's own words, or its number where the text is its owner's.
 * @param {Item} item
 */
export function itemText(item) {
  return own(item.text) || t("question.item", { id: item.id });
}

/**
 * @param {Definition} definition
 * @param {Item} item
 */
function choicesOf(definition, item) {
  const choices = definition.codeLists?.[item.codes ?? ""] ?? [];
  return choices.map((/** @type {Choice} */ choice) => ({
    code: choice.code,
    label: own(choice.text) || String(choice.code),
    lang: ownTag(choice.text),
  }));
}

/**
 * @param {Item} item
 * @param {{code: number, label: string, lang: string}[]} choices
 * @param {Answer | undefined} answer
 * @param {"radio" | "checkbox"} kind
 * @param {(codes: number[]) => void} changed
 * @param {string} [look]
 */
function group(item, choices, answer, kind, changed, look = "choices") {
  const chosen = Array.isArray(answer) ? answer : [answer];
  const boxes = choices.map(({ code, label, lang }) => {
    const box = h("input", { type: kind, name: `item-${item.id}`, value: code, checked: chosen.includes(code) });
    const report = () => changed(boxes.filter((one) => one.box.checked).map((one) => Number(one.box.value)));
    box.addEventListener("change", report);
    return { box, shown: h("label", { class: "choice", lang }, box, h("span", {}, label)) };
  });
  return h(
    "fieldset",
    { class: look, "aria-describedby": "question-problem" },
    legend(item),
    ...boxes.map(({ shown }) => shown),
  );
}

/**
 * @param {Item} item
 * @param {Answer | undefined} answer
 * @param {(answer: Answer | undefined) => void} changed
 */
function numberField(item, answer, changed) {
  const { min, max, decimals = 1 } = item;
  const step = item.type === "integer" ? 1 : 10 ** -decimals;
  const input = h("input", {
    id: "answer",
    type: "number",
    inputmode: item.type === "integer" ? "numeric" : "decimal",
    min,
    max,
    step,
    value: answer,
    "aria-describedby": "answer-range question-problem",
    oninput: () => changed(input.value === "" || !input.checkValidity() ? undefined : Number(input.value)),
  });
  const range = h("p", { id: "answer-range", class: "hint" }, t("question.range", { min: min ?? "", max: max ?? "" }));
  return field(item, input, range);
}

/**
 * @param {Item} item
 * @param {Answer | undefined} answer
 * @param {(answer: Answer | undefined) => void} changed
 */
function textField(item, answer, changed) {
  const input = h("textarea", {
    id: "answer",
    rows: 4,
    maxlength: item.maxLength ?? 1000,
    "aria-describedby": "question-problem",
    oninput: () => changed(input.value === "" ? undefined : input.value),
  });
  input.value = typeof answer === "string" ? answer : "";
  return field(item, input, null);
}

/**
 * @param {Item} item
 * @param {HTMLElement} input
 * @param {HTMLElement | null} hint
 */
function field(item, input, hint) {
  return h(
    "div",
    { class: "field" },
    preface(item),
    h("label", { class: "asked", for: "answer", lang: ownTag(item.text) }, itemText(item)),
    hint,
    input,
  );
}

/** @param {Item} item */
function legend(item) {
  return h(
    "legend",
    {},
    preface(item),
    h("span", { class: "asked", id: "asked", lang: ownTag(item.text) }, itemText(item)),
  );
}

/** @param {{preface?: Texts}} item */
function preface(item) {
  return item.preface ? h("span", { class: "preface", lang: ownTag(item.preface) }, own(item.preface)) : null;
}
