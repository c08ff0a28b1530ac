// The patient's phone: choose a questionnaire, answer one question a page, send it or keep it while offline.

import { call, problemText } from "./api.js";
import { answersToSend, asked } from "./branching.js";
import { course } from "./course.js";
import { announce, focus, h, put } from "./dom.js";
import { current, dateTime, number, own, ownTag, t } from "./i18n.js";
import { me } from "./identity.js";
import * as outbox from "./outbox.js";
import { answerText, itemText, question } from "./question.js";
import { connection } from "./sending.js";

/** @import { Answers, Definition, Identity, InstrumentSummary, Receipt, Submission, View } from "./types.js" */

/**
 * @typedef {{step: "choose"} | {step: "ask", place: number} | {step: "review"} |
 *   {step: "sent", status: number, receipt: Receipt, submission: Submission, identity: Identity} |
 *   {step: "kept"} | {step: "refused", why: string}} Step
 */

/** What the visitor has filled in stays while other views or the other language are shown. */
const state = {
  /** @type {Step} */
  at: { step: "choose" },
  /** @type {InstrumentSummary | null} */
  chosen: null,
  /** @type {Answers} */
  answers: {},
};

/** Definitions by id, version and language. A version never changes. @type {Map<string, Definition>} */
const definitions = new Map();

/** @returns {View} */
export function patient() {
  const phone = h("section", { class: "card phone", "aria-labelledby": "phone-title" });
  const follow = course();
  const wire = connection(follow, () => {
    // What was kept has been sent.
    if (state.at.step === "kept" && outbox.waiting().length === 0) state.at = { step: "choose" };
    if (state.at.step === "review" || state.at.step === "choose") draw();
  });

  async function draw({ moved = false } = {}) {
    const content = await page();
    put(phone, h("h2", { id: "phone-title" }, t("patient.phone", { patient: me().patient })), content);
    if (moved) focus(phone.querySelector("[data-focus]"));
  }

  /** @param {Step} step */
  function go(step) {
    state.at = step;
    draw({ moved: true });
    wire.draw();
  }

  async function page() {
    switch (state.at.step) {
      case "choose":
        return choose();
      case "ask":
        return ask(await definition(), state.at.place);
      case "review":
        return review(await definition());
      case "sent":
        return sent(state.at);
      case "kept":
        return message("patient.kept", t("patient.kept.text"), "note");
      case "refused":
        return message("patient.refused", state.at.why, "bad");
    }
  }

  async function choose() {
    /** @type {InstrumentSummary[]} */
    let instruments = [];
    try {
      const listed = await call("patient", me(), "GET /v1/instruments", {});
      if (!listed.ok) return h("p", { class: "bad", role: "alert" }, problemText(listed.problem, listed.status));
      instruments = listed.body.instruments;
    } catch {
      return h("p", { class: "bad", role: "alert" }, t("error.network"));
    }
    const entries = instruments.map((instrument) =>
      h(
        "li",
        {},
        h(
          "button",
          { class: "instrument", type: "button", "data-instrument": instrument.id, onclick: () => begin(instrument) },
          h("span", { class: "name", lang: ownTag(instrument.title) }, own(instrument.title)),
          h("span", { class: "hint" }, t("patient.items", { n: number(instrument.items) })),
          instrument.languages.includes(current()) ? null : h("span", { class: "hint" }, t("patient.only-english")),
        ),
      ),
    );
    return h(
      "div",
      {},
      h("h3", { "data-focus": true }, t("patient.choose")),
      h("ul", { class: "instruments" }, ...entries),
    );
  }

  /** @param {InstrumentSummary} instrument */
  function begin(instrument) {
    state.chosen = instrument;
    state.answers = {};
    go({ step: "ask", place: 0 });
  }

  /**
   * @param {Definition} definition
   * @param {number} place
   */
  function ask(definition, place) {
    const items = asked(definition, state.answers);
    const at = items[Math.min(place, items.length - 1)];
    if (!at) return review(definition);
    const { item, needed } = at;
    const problem = h("p", { id: "question-problem", class: "bad", role: "alert" });
    const control = question(definition, item, state.answers[item.id], (answer) => {
      if (answer === undefined) delete state.answers[item.id];
      else state.answers[item.id] = answer;
      problem.textContent = "";
    });
    const next = () => {
      const more = asked(definition, state.answers);
      go(place + 1 < more.length ? { step: "ask", place: place + 1 } : { step: "review" });
    };
    const submit = (/** @type {Event} */ event) => {
      event.preventDefault();
      if (needed && state.answers[item.id] === undefined) {
        problem.textContent = t("question.needed");
        /** @type {HTMLElement | null} */ (control.querySelector("input, textarea"))?.focus();
        return;
      }
      next();
    };
    const skip = () => {
      delete state.answers[item.id];
      next();
    };
    const done = items.findIndex((one) => one.item.id === item.id);
    return h(
      "form",
      { class: "ask", novalidate: true, onsubmit: submit },
      h("p", { class: "instruction", lang: ownTag(definition.instruction) }, own(definition.instruction)),
      h("h3", { class: "hint", "data-focus": true }, t("question.progress", { n: done + 1, of: items.length })),
      h("progress", { value: done, max: items.length, "aria-label": t("question.progress-label") }),
      control,
      needed ? null : h("p", { class: "hint" }, t("question.optional")),
      problem,
      h(
        "div",
        { class: "buttons" },
        h("button", { type: "submit", class: "main" }, t("question.next")),
        h(
          "button",
          { type: "button", onclick: () => go(place > 0 ? { step: "ask", place: place - 1 } : { step: "choose" }) },
          t("question.back"),
        ),
        needed ? h("button", { type: "button", class: "plain", onclick: skip }, t("question.skip")) : null,
      ),
    );
  }

  /** @param {Definition} definition */
  function review(definition) {
    const rows = asked(definition, state.answers).map(({ item }, place) =>
      h(
        "div",
        {},
        h("dt", { lang: ownTag(item.text) }, itemText(item)),
        h(
          "dd",
          {},
          h("span", {}, answerText(definition, item, state.answers[item.id])),
          h(
            "button",
            {
              type: "button",
              class: "plain",
              "aria-label": t("review.change-label", { item: itemText(item) }),
              onclick: () => go({ step: "ask", place }),
            },
            t("review.change"),
          ),
        ),
      ),
    );
    const send = h(
      "button",
      { type: "button", class: "main", onclick: () => deliver(definition, send) },
      outbox.isOffline() ? t("review.keep") : t("review.send"),
    );
    return h(
      "div",
      {},
      h("h3", { "data-focus": true }, t("review.title")),
      h("dl", { class: "answers" }, ...rows),
      h(
        "div",
        { class: "buttons" },
        send,
        h("button", { type: "button", onclick: () => go({ step: "ask", place: rows.length - 1 }) }, t("question.back")),
      ),
    );
  }

  /**
   * @param {Definition} definition
   * @param {HTMLButtonElement} button
   */
  async function deliver(definition, button) {
    button.disabled = true;
    /** @type {Submission} */
    const submission = {
      id: outbox.newId(),
      instrument: definition.id,
      version: definition.version,
      authoredAt: outbox.deviceTime(),
      answers: answersToSend(definition, state.answers),
      device: { app: "console", os: "browser" },
    };
    // Kept before it is sent, so that nothing is lost if this page ends meanwhile.
    outbox.keep(me(), submission);
    if (outbox.isOffline()) return go({ step: "kept" });
    await send(submission, me());
  }

  /**
   * @param {Submission} submission
   * @param {Identity} identity
   */
  async function send(submission, identity) {
    const sent = await wire.send(submission, identity);
    if (sent.reached === "accepted") announce(t("patient.sent"));
    go(
      sent.reached === "accepted"
        ? { step: "sent", status: sent.status, receipt: sent.receipt, submission, identity }
        : sent.reached === "refused"
          ? { step: "refused", why: sent.why }
          : { step: "kept" },
    );
  }

  /** @param {Extract<Step, {step: "sent"}>} step */
  function sent({ status, receipt, submission, identity }) {
    const first = status === 202;
    const repeat = h("button", { type: "button", onclick: () => send(submission, identity) }, t("sent.repeat"));
    return h(
      "div",
      {},
      h("h3", { "data-focus": true, class: "good" }, `✓ ${t("sent.title")}`),
      h("p", {}, t(first ? "sent.first" : "sent.repeated", { status })),
      h(
        "dl",
        { class: "facts" },
        fact(t("sent.id"), h("code", {}, receipt.id)),
        fact(t("sent.received"), dateTime(receipt.receivedAt)),
        fact(t("sent.correlation"), h("code", {}, receipt.correlationId)),
      ),
      h(
        "div",
        { class: "buttons" },
        h("button", { type: "button", class: "main", onclick: () => go({ step: "choose" }) }, t("sent.another")),
        repeat,
      ),
    );
  }

  /**
   * @param {"patient.kept" | "patient.refused"} title
   * @param {string} text
   * @param {string} look
   */
  function message(title, text, look) {
    return h(
      "div",
      {},
      h("h3", { "data-focus": true }, t(title)),
      h("p", { class: look }, text),
      h(
        "div",
        { class: "buttons" },
        h("button", { type: "button", class: "main", onclick: () => go({ step: "choose" }) }, t("sent.another")),
      ),
    );
  }

  return {
    show(place) {
      put(
        place,
        h("h1", { id: "view-title" }, t("nav.patient")),
        h("p", { class: "lead" }, t("patient.lead")),
        h("div", { class: "columns" }, h("div", {}, phone, wire.element), follow.element),
      );
      draw();
    },
    leave() {
      wire.leave();
      follow.leave();
    },
  };
}

/** The chosen instrument's definition in the page's language. @returns {Promise<Definition>} */
async function definition() {
  const chosen = state.chosen;
  if (!chosen) throw new Error("no instrument is chosen");
  const key = `${chosen.id} ${chosen.version} ${current()}`;
  const known = definitions.get(key);
  if (known) return known;
  const request = { path: { id: chosen.id, version: chosen.version }, query: { lang: current() } };
  const answer = await call("patient", me(), "GET /v1/instruments/{id}/{version}", request);
  if (!answer.ok) throw new Error(problemText(answer.problem, answer.status));
  definitions.set(key, answer.body);
  return answer.body;
}

/**
 * @param {string} name
 * @param {Node | string} value
 */
function fact(name, value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value));
}
