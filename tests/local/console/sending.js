// The phone's connection: sends a submission, or keeps it and sends a batch later. Nothing leaves the phone's storage
// before the API has answered for it.

import { call, now, problemText } from "./api.js";
import { h, put } from "./dom.js";
import { dateTime, named, t } from "./i18n.js";
import * as outbox from "./outbox.js";

/** @import { Identity, Receipt, Submission } from "./types.js" */
/** @import { course } from "./course.js" */

/**
 * @typedef {{reached: "accepted", status: number, receipt: Receipt} | {reached: "refused", why: string} |
 *   {reached: "kept"}} Sent
 */

/** Answers that a repeat would get again: accepted, or refused for the content. */
const FINAL = new Set([200, 202, 409, 413, 415, 422]);

/** What the last batch was answered, line by line; it stays while other views are shown. @type {string[]} */
let answers = [];

/**
 * @param {ReturnType<typeof course>} follow
 * @param {() => void} changed called when what waits, or whether the phone is offline, has changed
 */
export function connection(follow, changed) {
  const element = h("section", { class: "card", "aria-label": t("outbox.label") });

  function draw() {
    const kept = outbox.waiting();
    const offline = outbox.isOffline();
    const toggle = h("input", { id: "offline", type: "checkbox", role: "switch", checked: offline });
    toggle.addEventListener("change", () => {
      outbox.setOffline(toggle.checked);
      noticed();
    });
    const entries = kept.map(({ submission, identity }) =>
      h(
        "li",
        {},
        h("span", {}, `${submission.instrument} · ${identity.patient}`),
        h("code", {}, submission.id.slice(0, 13)),
        h("span", { class: "hint" }, dateTime(submission.authoredAt)),
      ),
    );
    const n = kept.length;
    const look = { id: "send-kept", type: "button", class: "main", disabled: offline, onclick: sendKept };
    put(
      element,
      h("label", { class: "switch" }, toggle, h("span", {}, t("outbox.offline"))),
      h("p", { class: "hint" }, t("outbox.hint")),
      n > 0 && h("h3", {}, t("outbox.title", { n })),
      n > 0 && h("ul", { class: "kept" }, ...entries),
      n > 0 && h("div", { class: "buttons" }, h("button", look, t("outbox.send", { n }))),
      answers.length > 0 && h("ul", { class: "results", role: "status" }, ...answers.map((line) => h("li", {}, line))),
    );
  }

  function noticed() {
    draw();
    changed();
  }

  /**
   * Sends one that is kept already. Without a final answer it stays, and is sent again under the same id.
   * @param {Submission} submission
   * @param {Identity} identity
   * @returns {Promise<Sent>}
   */
  async function send(submission, identity) {
    follow.begin(submission.id, identity, now());
    const body = { ...submission, sentAt: outbox.deviceTime() };
    const answer = await call("patient", identity, "POST /v1/submissions", { body }).catch(() => null);
    if (answer && FINAL.has(answer.status)) outbox.drop([submission.id]);
    if (answer?.ok) {
      follow.received(answer.body);
      return { reached: "accepted", status: answer.status, receipt: answer.body };
    }
    follow.end();
    const refused = answer && FINAL.has(answer.status);
    return refused ? { reached: "refused", why: problemText(answer.problem, answer.status) } : { reached: "kept" };
  }

  /** Sends what is kept, in batches for each patient. */
  async function sendKept() {
    answers = [];
    const kept = outbox.waiting();
    const owners = new Map(kept.map(({ identity }) => [JSON.stringify(identity), identity]));
    for (const [key, identity] of owners) {
      const submissions = kept.filter((one) => JSON.stringify(one.identity) === key).map((one) => one.submission);
      for (let from = 0; from < submissions.length; from += outbox.BATCH) {
        await sendBatch(submissions.slice(from, from + outbox.BATCH), identity);
      }
    }
    noticed();
  }

  /**
   * @param {Submission[]} submissions
   * @param {Identity} identity
   */
  async function sendBatch(submissions, identity) {
    const sentAt = outbox.deviceTime();
    const last = submissions.at(-1);
    if (last) follow.begin(last.id, identity, now());
    const body = { submissions: submissions.map((submission) => ({ ...submission, sentAt })) };
    const answer = await call("patient", identity, "POST /v1/submissions/batch", { body }).catch(() => null);
    if (!answer?.ok) {
      answers.push(answer ? problemText(answer.problem, answer.status) : t("error.network"));
      follow.end();
      return;
    }
    for (const result of answer.body.results) {
      const submission = submissions[result.index];
      if (!submission) continue;
      if (FINAL.has(result.status)) outbox.drop([submission.id]);
      const said =
        "problem" in result
          ? problemText(result.problem, result.status)
          : `${result.status} ${named("status", String(result.status))}`;
      answers.push(`${submission.instrument} ${submission.id.slice(0, 13)}: ${said}`);
      if ("receipt" in result && submission === last) follow.received(result.receipt);
    }
  }

  window.addEventListener("online", noticed);
  window.addEventListener("offline", noticed);
  draw();

  return {
    element,
    draw,
    send,
    leave() {
      window.removeEventListener("online", noticed);
      window.removeEventListener("offline", noticed);
    },
  };
}
