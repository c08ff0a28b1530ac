// The clinicians of a site: their open alerts, acknowledged with a note, and what SNS delivered to them.

import { call, local, now, post, problemText } from "./api.js";
import { announce, h, put } from "./dom.js";
import { dateTime, duration, named, t } from "./i18n.js";
import { listen } from "./events.js";
import { me } from "./identity.js";

/** @import { Acknowledgement, Alert, Inbox, Severity, Study, SweepRun, UnreadableAlert, View } from "./types.js" */

/** A shape for each severity, so that colour is not the only sign. */
const SHAPES = { critical: "▲", warning: "◆", info: "●" };

/** The study whose alerts can be made to escalate soon. */
const DEMO = "EPRO-DEMO";

/** The alerts that can be listed alone. */
const STATUSES = /** @type {const} */ (["open", "acknowledged", "exhausted"]);

/** Changes that come in a burst are read once. */
const QUIET = 250;

/** @returns {View} */
export function clinician() {
  const list = h("div", { class: "alerts" });
  const inbox = h("div", {});
  const said = h("p", { role: "status", class: "said" });
  /** The notes that are being written, by alert, so that a new alert does not take them away. @type {Map<string, string>} */
  const notes = new Map();
  const filter = h(
    "select",
    { id: "alert-status", onchange: () => draw() },
    ...STATUSES.map((status) => h("option", { value: status }, t(`alerts.status.${status}`))),
    h("option", { value: "" }, t("alerts.status.all")),
  );
  /** @type {NonNullable<Study["alerts"]>["escalation"] | null} */
  let escalation = null;
  let timer = 0;
  const escalationText = h("span");
  const soonButton = h(
    "button",
    { type: "button", id: "escalate-soon", hidden: true, onclick: () => escalateSoon() },
    t("escalation.soon"),
  );

  async function draw() {
    const status = STATUSES.find((one) => one === filter.value);
    const request = { path: { site: me().site }, query: status ? { status } : {} };
    const answer = await call("clinician", me(), "GET /v1/sites/{site}/alerts", request).catch(() => null);
    if (!answer) return put(list, h("p", { class: "bad" }, t("error.network")));
    if (!answer.ok) return put(list, h("p", { class: "bad" }, problemText(answer.problem, answer.status)));
    const { alerts } = answer.body;
    put(list, alerts.length ? alerts.map(card) : h("p", { class: "hint" }, t("alerts.none")));
    drawInbox();
  }

  async function drawInbox() {
    const { messages } = await local(
      `/local/inbox?site=${encodeURIComponent(me().site)}&study=${encodeURIComponent(me().study)}`,
    ).then(
      (body) => /** @type {Inbox} */ (body),
      () => ({ messages: [] }),
    );
    const entries = messages
      .slice(0, 20)
      .map(({ publishedAt, subject, body }) =>
        h(
          "li",
          {},
          h("span", { class: "subject" }, subject ?? ""),
          body.escalation ? h("span", { class: "tag" }, t("inbox.escalation", { n: body.escalation })) : null,
          h("time", { class: "hint", datetime: publishedAt }, dateTime(publishedAt)),
        ),
      );
    put(inbox, entries.length ? h("ul", { class: "inbox" }, ...entries) : h("p", { class: "hint" }, t("inbox.none")));
  }

  /** @param {Alert | UnreadableAlert} alert */
  function card(alert) {
    if ("unreadable" in alert) return h("article", { class: "alert" }, h("p", { class: "bad" }, alert.unreadable));
    const { alertId, severity, status } = alert;
    const title = `alert-${alertId}`;
    return h(
      "article",
      { class: `alert ${severity}`, "aria-labelledby": title, "data-alert": alertId },
      h("h3", { id: title }, shape(severity), ` ${named("severity", severity)} · ${named("rule", alert.rule)}`),
      h(
        "dl",
        { class: "facts" },
        fact(t("alerts.patient"), alert.patient),
        fact(t("alerts.instrument"), alert.instrument ?? "–"),
        fact(t("alerts.raised"), dateTime(alert.raisedAt)),
        fact(t("alerts.state"), alert.exhausted ? t("alerts.status.exhausted") : named("alert-status", status)),
        alert.escalation ? fact(t("alerts.escalated"), t("alerts.times", { n: alert.escalation })) : null,
        due(alert),
      ),
      alert.acknowledged ? acknowledgement(alert.acknowledged) : form(alert),
    );
  }

  /** When a critical alert is published again. @param {Alert} alert */
  function due({ severity, status, sentAt, escalation: times = 0, exhausted, snoozedUntil }) {
    if (
      !escalation ||
      severity !== "critical" ||
      status !== "sent" ||
      !sentAt ||
      exhausted ||
      times >= escalation.limit
    )
      return null;
    const minutes = escalation.afterMinutes * (times + 1);
    const at = Math.max(Date.parse(sentAt) + minutes * 60_000, snoozedUntil ? Date.parse(snoozedUntil) : 0);
    return fact(
      t("alerts.due"),
      t("alerts.due-text", { at: dateTime(at), left: duration(Math.max(0, at - now())), limit: escalation.limit }),
    );
  }

  /** @param {Acknowledgement} acknowledged */
  function acknowledgement({ by, at, note }) {
    return h(
      "p",
      { class: "good" },
      `✓ ${t("alerts.acknowledged", { by, at: dateTime(at) })}`,
      note ? h("q", {}, note) : null,
    );
  }

  /** @param {Alert} alert */
  function form({ alertId, patient }) {
    const id = `note-${alertId}`;
    const note = h("textarea", { id, rows: 2, maxlength: 2000, oninput: () => notes.set(alertId, note.value) });
    note.value = notes.get(alertId) ?? "";
    const button = h("button", { id: `ack-${alertId}`, type: "submit", class: "main" }, t("alerts.acknowledge"));
    const problem = h("p", { class: "bad", role: "alert" });
    const submit = async (/** @type {Event} */ event) => {
      event.preventDefault();
      button.disabled = true;
      const body = note.value.trim() ? { note: note.value.trim() } : {};
      const answer = await call("clinician", me(), "POST /v1/alerts/{alertId}/acknowledge", {
        path: { alertId },
        body,
      }).catch(() => null);
      button.disabled = false;
      if (!answer?.ok) {
        problem.textContent = answer ? problemText(answer.problem, answer.status) : t("error.network");
        return;
      }
      notes.delete(alertId);
      said.textContent = t("alerts.said", { patient });
      announce(t("alerts.said", { patient }));
      await draw();
      document.getElementById("alerts-title")?.focus();
    };
    return h(
      "form",
      { class: "acknowledge", onsubmit: submit },
      h("label", { for: id }, t("alerts.note")),
      note,
      problem,
      h("div", { class: "buttons" }, button),
    );
  }

  /** How the study lets alerts escalate. Where it is not stored, or says nothing, the deployment's parameters apply. */
  async function readEscalation() {
    const study = /** @type {Study | null} */ (
      await local(`/console/study?id=${encodeURIComponent(me().study)}`).catch(() => null)
    );
    escalation = study?.alerts?.escalation ?? null;
    escalationText.textContent = escalation
      ? t("escalation.text", { minutes: escalation.afterMinutes, limit: escalation.limit })
      : t("escalation.other");
    soonButton.hidden = study?.id !== DEMO || escalation?.afterMinutes === 1;
    draw();
  }

  async function escalateSoon() {
    const answer = await post("/console/escalation").catch(() => null);
    said.textContent = !answer
      ? t("error.network")
      : answer.ok
        ? t("escalation.said")
        : problemText(answer.problem, answer.status);
    await readEscalation();
    document.getElementById("sweep")?.focus();
  }

  async function sweep() {
    const answer = await post("/local/schedules/sweep").catch(() => null);
    if (!answer?.ok) return;
    const run = /** @type {SweepRun} */ (answer.body).invocations[0]?.answer ?? {};
    said.textContent = t("sweep.said", { escalated: run.escalated ?? 0, exhausted: run.exhausted ?? 0 });
    draw();
  }

  const soon = () => {
    timer ||= window.setTimeout(() => {
      timer = 0;
      draw();
    }, QUIET);
  };
  const stop = listen((event) => {
    if (event?.event === "published" || (event?.event === "changed" && event.alertId)) soon();
  });

  return {
    show(place) {
      put(
        place,
        h("h1", { id: "view-title" }, t("nav.clinician")),
        h("p", { class: "lead" }, t("clinician.lead")),
        h(
          "div",
          { class: "columns" },
          h(
            "section",
            { class: "card", "aria-labelledby": "alerts-title" },
            h(
              "div",
              { class: "bar" },
              h("h2", { id: "alerts-title", tabindex: -1 }, t("alerts.title", { site: me().site })),
              h("label", { for: "alert-status" }, t("alerts.show")),
              filter,
            ),
            said,
            list,
          ),
          h(
            "section",
            { class: "card", "aria-labelledby": "inbox-title" },
            h("h2", { id: "inbox-title" }, t("inbox.title")),
            h("p", { class: "hint" }, t("inbox.text")),
            inbox,
            h("h2", { class: "next" }, t("escalation.title")),
            h("p", { class: "hint" }, escalationText),
            h(
              "div",
              { class: "buttons" },
              soonButton,
              h("button", { type: "button", id: "sweep", onclick: sweep }, t("sweep.run")),
            ),
          ),
        ),
      );
      draw();
      readEscalation();
    },
    leave() {
      clearTimeout(timer);
      stop();
    },
  };
}

/**
 * The sign of a severity. The word stands beside it.
 * @param {Severity} severity
 */
export function shape(severity) {
  return h("span", { class: `shape ${severity}`, "aria-hidden": "true" }, SHAPES[severity]);
}

/**
 * @param {string} name
 * @param {string} value
 */
function fact(name, value) {
  return h("div", {}, h("dt", {}, name), h("dd", {}, value));
}
