// The course of one submission, live: sent, stored, streamed, scored, counted, alerted, published; and what follows.

import { call } from "./api.js";
import { announce, h, put } from "./dom.js";
import { clock, duration, named, number, t } from "./i18n.js";
import { listen, world } from "./events.js";

/** @import { Identity, Invocation, Receipt, Score, ScoreResult } from "./types.js" */

/** @typedef {"sent" | "stored" | "streamed" | "scored" | "counted" | "alerted" | "published"} StepName */

/** How far a step is: not yet, done, or not needed for this submission. @typedef {"waiting" | "done" | "none"} Reached */

/**
 * @typedef {{
 *   name: StepName, reached: Reached, at: number | null, facts: string[], invocation: Invocation | null
 * }} Step
 */

/** What is known of the followed submission besides the events. */
const followed = {
  /** @type {string | null} */
  id: null,
  /** @type {Identity | null} */
  identity: null,
  sentAt: 0,
  /** @type {Receipt | null} */
  receipt: null,
  /** @type {ScoreResult | null} */
  score: null,
  /** @type {{submissions: number, alerts: number} | null} */
  counts: null,
};

/** How often the score is asked for until it is there. */
const ATTEMPTS = 5;

/** The panel that shows the course of the submission that was sent last. */
export function course() {
  const list = h("ol", { class: "course" });
  const after = h("ol", { class: "course after" });
  const note = h("p", { class: "hint" });
  const element = h(
    "section",
    { class: "card follow", id: "course", "aria-labelledby": "course-title" },
    h("h2", { id: "course-title" }, t("course.title")),
    note,
    list,
    after,
  );
  let shown = "";
  /** How far each step was when it was drawn last. @type {Map<string, Reached>} */
  const before = new Map();

  function draw() {
    const steps = trace();
    const later = laterEvents();
    const now = JSON.stringify([steps, later, followed.id]);
    if (now === shown) return;
    shown = now;
    put(note, followed.id ? t("course.following", { id: followed.id.slice(0, 13) }) : t("course.nothing-yet"));
    put(list, ...steps.map((step, place) => entry(step, place + 1, before.get(step.name) === "waiting")));
    for (const step of steps) before.set(step.name, step.reached);
    put(
      after,
      ...later.map(({ what, at }) =>
        h(
          "li",
          { class: "done", "data-step": what },
          mark("done", 0),
          h(
            "div",
            {},
            h("h3", {}, named("course.after", what), time(at)),
            h("p", { class: "hint" }, named("course.after-text", what)),
          ),
        ),
      ),
    );
    if (steps.every((step) => step.reached !== "waiting")) announce(t("course.done"));
  }

  const stop = listen((event) => {
    draw();
    if (event?.event === "changed" && event.submissionId === followed.id && event.what === "scored") readScore();
  });
  draw();

  return {
    element,
    /**
     * Follows a submission that is about to be sent.
     * @param {string} id
     * @param {Identity} identity
     * @param {number} sentAt
     */
    begin(id, identity, sentAt) {
      // A repeat changes nothing, in the course either.
      if (followed.id === id) return;
      Object.assign(followed, { id, identity, sentAt, receipt: null, score: null, counts: null });
      draw();
    },
    /** @param {Receipt} receipt */
    received(receipt) {
      followed.receipt = receipt;
      draw();
      if (world.changes.some((change) => change.submissionId === receipt.id && change.what === "scored")) readScore();
    },
    /** The submission was not accepted. */
    end() {
      if (followed.receipt) return;
      followed.id = null;
      draw();
    },
    leave: stop,
  };

  /** The score, and the site's counts, as site staff read them. */
  async function readScore() {
    const { id, identity } = followed;
    if (!id || !identity || followed.score) return;
    const { patient, site } = identity;
    for (let attempt = 0; attempt < ATTEMPTS && followed.id === id; attempt += 1) {
      const asked = { path: { id }, query: { patient } };
      const state = await call("staff", identity, "GET /v1/submissions/{id}", asked).catch(() => null);
      const score = state?.ok ? state.body.score : undefined;
      if (score) {
        followed.score = score;
        draw();
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, 400 * 2 ** attempt));
    }
    const counts = await call("staff", identity, "GET /v1/sites/{site}/counts", { path: { site } }).catch(() => null);
    if (!counts?.ok || followed.id !== id) return;
    const own = counts.body.counts.find((one) => one.site === site);
    if (own) followed.counts = own;
    draw();
  }
}

/**
 * The steps as far as the events show them.
 * @returns {Step[]}
 */
function trace() {
  const { id, receipt, score, counts, sentAt } = followed;
  const changes = id ? world.changes.filter((change) => change.submissionId === id) : [];
  const when = (/** @type {string} */ what) => {
    const change = changes.find((change) => change.what === what);
    return change ? Date.parse(change.at) : null;
  };
  const invocations = id ? [...world.invocations.values()] : [];
  const submit = invocations.findLast(
    ({ cause }) =>
      typeof cause === "object" &&
      "request" in cause &&
      !!receipt &&
      cause.request.correlationId === receipt.correlationId,
  );
  const deliveries = invocations.filter(
    ({ cause }) =>
      typeof cause === "object" && "stream" in cause && id !== null && cause.stream.submissions.includes(id),
  );
  const delivered = deliveries[0] ?? null;
  const stored = receipt ? Date.parse(receipt.receivedAt) : when("stored");
  const scored = score ? Date.parse(score.scoredAt) : when("scored");
  const quarantined = when("quarantined");
  const raised = changes.filter((change) => change.what === "raised" || change.what === "quiet");
  const published = world.published.filter((one) => id && one.submissionId === id && one.escalation === null);
  const noAlert = scored !== null && (score ? score.alerts.length === 0 : raised.length === 0);
  return [
    step("sent", id ? sentAt : null, []),
    step("stored", stored, [], submit ?? null),
    step("streamed", delivered ? delivered.startedAt : null, [
      ...(delivered && stored ? [t("course.lag", { ms: duration(Math.max(0, delivered.startedAt - stored)) })] : []),
      ...(deliveries.length > 1 ? [t("course.deliveries", { n: deliveries.length })] : []),
    ]),
    step(
      "scored",
      scored ?? quarantined,
      quarantined
        ? [t("course.quarantined")]
        : [
            ...(score?.scores ?? []).map(scoreText),
            ...(score?.notScored ?? []).map((one) => t("course.not-scored", { id: one.id, reason: one.reason })),
          ],
      delivered,
    ),
    step(
      "counted",
      scored,
      counts ? [t("course.counts", { submissions: number(counts.submissions), alerts: number(counts.alerts) })] : [],
    ),
    noAlert && raised.length === 0
      ? none("alerted", t("course.no-alert"))
      : step("alerted", raised[0] ? (scored ?? Date.parse(raised[0].at)) : null, [
          t("course.alerts", { n: Math.max(raised.length, score?.alerts.length ?? 0) }),
        ]),
    noAlert && raised.length === 0
      ? none("published", t("course.nothing-published"))
      : step(
          "published",
          published[0] ? Date.parse(published[0].at) : null,
          published.map((one) => named("severity", one.severity ?? "")),
        ),
  ];
}

/** What happened to the submission's alerts later. */
function laterEvents() {
  const id = followed.id;
  if (!id) return [];
  const kinds = ["acknowledged", "escalated", "exhausted", "corrected"];
  return world.changes
    .filter((change) => change.submissionId === id && kinds.includes(change.what))
    .map(({ what, at }) => ({ what, at: Date.parse(at) }));
}

/**
 * @param {StepName} name
 * @param {number | null} at
 * @param {string[]} facts
 * @param {Invocation | null} [invocation]
 * @returns {Step}
 */
function step(name, at, facts, invocation = null) {
  return at === null
    ? { name, reached: "waiting", at, facts: [], invocation: null }
    : { name, reached: "done", at, facts, invocation };
}

/**
 * @param {StepName} name
 * @param {string} fact
 * @returns {Step}
 */
function none(name, fact) {
  return { name, reached: "none", at: null, facts: [fact], invocation: null };
}

/**
 * @param {Step} step
 * @param {number} place
 * @param {boolean} arrives whether it was not reached before
 */
function entry({ name, reached, at, facts, invocation }, place, arrives) {
  return h(
    "li",
    { class: arrives ? `${reached} arrives` : reached, "data-step": name },
    mark(reached, place),
    h(
      "div",
      {},
      h("h3", {}, t(`course.${name}`), at === null ? null : time(at)),
      h("p", { class: "hint" }, t(`course.${name}.text`)),
      ...facts.map((fact) => h("p", { class: "fact" }, fact)),
      invocation ? h("p", { class: "invocation" }, invocationText(invocation)) : null,
    ),
  );
}

/**
 * @param {Reached} reached
 * @param {number} place
 */
function mark(reached, place) {
  const signs = { waiting: place, done: "✓", none: "–" };
  return h("span", { class: "mark", role: "img", "aria-label": t(`course.reached.${reached}`) }, signs[reached]);
}

/** @param {number} at */
function time(at) {
  const since = followed.sentAt ? ` +${duration(Math.max(0, at - followed.sentAt))}` : "";
  return h("span", { class: "time" }, h("time", { datetime: new Date(at).toISOString() }, clock(at)), since);
}

/** @param {Invocation} invocation */
function invocationText({ function: name, ms, remainingMs, cold, outcome }) {
  if (ms === undefined) return t("invocation.running", { name });
  const cause = outcome === "answered" ? "" : ` · ${named("outcome", outcome ?? "")}`;
  const text = t("invocation.done", { name, ms: duration(ms), left: duration(remainingMs ?? 0) });
  return `${text}${cold ? ` · ${t("invocation.cold")}` : ""}${cause}`;
}

/** @param {Score} score */
function scoreText({ id, value, range, band }) {
  const of = t("course.score", { id: named("score", id), value: number(value), max: number(range[1]) });
  return band ? `${of} · ${named("band", band)}` : of;
}
