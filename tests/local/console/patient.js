// The patient's phone: choose a questionnaire, answer one question a page, send it or keep it while offline.

import { call, problemText } from "./api.js";
import { answersToSend, asked } from "./branching.js";
import { course } from "./course.js";
import { announce, focus, h, put } from "./dom.js";
import { current, dateTime, named, number, own, ownTag, t } from "./i18n.js";
import { me } from "./identity.js";
import * as outbox from "./outbox.js";
import { answerText, itemText, question } from "./question.js";

/** @import { Answers, BatchResult, Definition, Identity, InstrumentSummary, Receipt, Submission, View } from "./types.js" */

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
  /** @type {string[]} */
  batch: [],
};

/** Definitions by id, version and language. A version never changes. @type {Map<string, Definition>} */
const definitions = new Map();

/** @returns {View} */
export function patient() {
  const phone = h("section", { class: "card phone", "aria-labelledby": "phone-title" });
  const below = h("div", { class: "outbox" });
  const follow = course();

  async function draw({ moved = false } = {}) {
    const content = await page();
    put(phone, h("h2", { id: "phone-title" }, t("patient.phone", { patient: me().patient })), content);
    if (moved) focus(phone.querySelector("[data-focus]"));
  }

  /** @param {Step} step */
  function go(step) {
    state.at = step;
    draw({ moved: true });
    drawOutbox();
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
      const listed = await call("patient", me(), "GET", "/v1/instruments");
      if (!listed.ok) return h("p", { class: "bad", role: "alert" }, problemText(listed.problem, listed.status));
      instruments = /** @type {any} */ (listed.body).instruments;
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
    return h("div", {}, h("h3", { "data-focus": true }, t("patient.choose")), h("ul", { class: "instruments" }, ...entries));
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
        h("button", { type: "button", onclick: () => go(place > 0 ? { step: "ask", place: place - 1 } : { step: "choose" }) }, t("question.back")),
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
          h("button", { type: "button", class: "plain", "aria-label": t("review.change-label", { item: itemText(item) }), onclick: () => go({ step: "ask", place }) }, t("review.change")),
        ),
      ),
    );
    const send = h("button", { type: "button", class: "main", onclick: () => deliver(definition, send) }, outbox.isOffline() ? t("review.keep") : t("review.send"));
    return h(
      "div",
      {},
      h("h3", { "data-focus": true }, t("review.title")),
      h("dl", { class: "answers" }, ...rows),
      h("div", { class: "buttons" }, send, h("button", { type: "button", onclick: () => go({ step: "ask", place: rows.length - 1 }) }, t("question.back"))),
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
    follow.begin(submission.id, identity, Date.now());
    try {
      const answer = await call("patient", identity, "POST", "/v1/submissions", { ...submission, sentAt: outbox.deviceTime() });
      if (answer.ok) {
        outbox.drop([submission.id]);
        const receipt = /** @type {Receipt} */ (answer.body);
        follow.received(receipt);
        announce(t("patient.sent"));
        return go({ step: "sent", status: answer.status, receipt, submission, identity });
      }
      // Refused for its content: it would be refused again.
      if (answer.status < 500 && answer.status !== 429) outbox.drop([submission.id]);
      follow.end();
      return go(answer.status < 500 ? { step: "refused", why: problemText(answer.problem, answer.status) } : { step: "kept" });
    } catch {
      // No answer: it may be stored or not. It stays, and is sent again under the same id.
      follow.end();
      return go({ step: "kept" });
    }
  }

  /** @param {Extract<Step, {step: "sent"}>} step */
  function sent({ status, receipt, submission, identity }) {
    const first = status === 202;
    const repeat = h("button", { type: "button", onclick: () => again(submission, identity) }, t("sent.repeat"));
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
      h("div", { class: "buttons" }, h("button", { type: "button", class: "main", onclick: () => go({ step: "choose" }) }, t("sent.another")), repeat),
    );
  }

  /**
   * @param {Submission} submission
   * @param {Identity} identity
   */
  async function again(submission, identity) {
    const answer = await call("patient", identity, "POST", "/v1/submissions", submission).catch(() => null);
    if (answer?.ok) go({ step: "sent", status: answer.status, receipt: /** @type {Receipt} */ (answer.body), submission, identity });
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
      h("div", { class: "buttons" }, h("button", { type: "button", class: "main", onclick: () => go({ step: "choose" }) }, t("sent.another"))),
    );
  }

  function drawOutbox() {
    const kept = outbox.waiting();
    const offline = outbox.isOffline();
    const toggle = h("input", {
      id: "offline",
      type: "checkbox",
      role: "switch",
      checked: offline,
      onchange: () => {
        outbox.setOffline(toggle.checked);
        drawOutbox();
        if (state.at.step === "review") draw();
      },
    });
    const entries = kept.map(({ submission, identity }) =>
      h("li", {}, h("span", {}, `${submission.instrument} · ${identity.patient}`), h("code", {}, submission.id.slice(0, 13)), h("span", { class: "hint" }, dateTime(submission.authoredAt))),
    );
    const results = state.batch.map((line) => h("li", {}, line));
    put(
      below,
      h("label", { class: "switch" }, toggle, h("span", {}, t("outbox.offline"))),
      h("p", { class: "hint" }, t("outbox.hint")),
      kept.length ? h("h3", {}, t("outbox.title", { n: kept.length })) : null,
      kept.length ? h("ul", { class: "kept" }, ...entries) : null,
      kept.length ? h("div", { class: "buttons" }, h("button", { id: "send-kept", type: "button", class: "main", disabled: offline, onclick: sendKept }, t("outbox.send", { n: kept.length }))) : null,
      results.length ? h("ul", { class: "results", role: "status" }, ...results) : null,
    );
  }

  /** Sends what is kept, a batch for each patient. What has no final answer stays, under the same id. */
  async function sendKept() {
    state.batch = [];
    const kept = outbox.waiting();
    const owners = new Map(kept.map(({ identity }) => [JSON.stringify(identity), identity]));
    for (const [key, identity] of owners) {
      const submissions = kept.filter((one) => JSON.stringify(one.identity) === key).map((one) => one.submission);
      for (let from = 0; from < submissions.length; from += outbox.BATCH) {
        await sendBatch(submissions.slice(from, from + outbox.BATCH), identity);
      }
    }
    drawOutbox();
    if (state.at.step === "kept" && outbox.waiting().length === 0) {
      state.at = { step: "choose" };
      draw();
    }
  }

  /**
   * @param {Submission[]} submissions
   * @param {Identity} identity
   */
  async function sendBatch(submissions, identity) {
    const sentAt = outbox.deviceTime();
    const last = submissions.at(-1);
    if (last) follow.begin(last.id, identity, Date.now());
    try {
      const body = { submissions: submissions.map((submission) => ({ ...submission, sentAt })) };
      const answer = await call("patient", identity, "POST", "/v1/submissions/batch", body);
      if (!answer.ok) {
        state.batch.push(problemText(answer.problem, answer.status));
        return;
      }
      for (const result of /** @type {BatchResult} */ (answer.body).results) {
        const submission = submissions[result.index];
        if (!submission) continue;
        if (result.status < 500) outbox.drop([submission.id]);
        const said = result.problem ? problemText(result.problem, result.status) : `${result.status} ${named("status", String(result.status))}`;
        state.batch.push(`${submission.instrument} ${submission.id.slice(0, 13)}: ${said}`);
        if (result.receipt && submission === last) follow.received(result.receipt);
      }
    } catch {
      state.batch.push(t("error.network"));
    }
  }

  const noticed = () => drawOutbox();

  return {
    show(place) {
      put(
        place,
        h("h1", { id: "view-title" }, t("nav.patient")),
        h("p", { class: "lead" }, t("patient.lead")),
        h("div", { class: "columns" }, h("div", {}, phone, h("section", { class: "card", "aria-label": t("outbox.label") }, below)), follow.element),
      );
      window.addEventListener("online", noticed);
      window.addEventListener("offline", noticed);
      draw();
      drawOutbox();
    },
    leave() {
      window.removeEventListener("online", noticed);
      window.removeEventListener("offline", noticed);
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
  const path = `/v1/instruments/${encodeURIComponent(chosen.id)}/${encodeURIComponent(chosen.version)}?lang=${current()}`;
  const answer = await call("patient", me(), "GET", path);
  if (!answer.ok) throw new Error(problemText(answer.problem, answer.status));
  const definition = /** @type {Definition} */ (answer.body);
  definitions.set(key, definition);
  return definition;
}

/**
 * @param {string} name
 * @param {Node | string} value
 */
function fact(name, value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value));
}
