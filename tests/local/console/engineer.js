// The engineer: invocations as a waterfall, the stream's lag, metrics, what failed, the switches, and the promises.

import { local, post, problemText } from "./api.js";
import { announce, h, put, s } from "./dom.js";
import { clock, duration, named, number, t } from "./i18n.js";
import { listen, world } from "./events.js";

/** @import { Cause, Failures, FaultCounts, Invocation, Switches, Verification, View } from "./types.js" */

/** The most invocations in the waterfall. */
const ROWS = 24;

/** An idle gap longer than this ends the waterfall. */
const GAP = 20_000;

/** Columns of figures. */
const FIGURES = new Set(["start", "took", "left", "last", "sum", "times"]);

/** Events that come in a burst are drawn once. */
const QUIET = 200;

/** The last report of the verification stays while other views are shown. @type {Verification | null} */
let verified = null;

/** @returns {View} */
export function engineer() {
  // A region that scrolls can be reached by keyboard.
  const waterfall = h("div", { class: "scroll", role: "region", tabindex: 0, "aria-labelledby": "waterfall-title" });
  const lag = h("div", {});
  const metrics = h("div", { class: "scroll", role: "region", tabindex: 0, "aria-labelledby": "metrics-title" });
  const failed = h("div", {});
  const faults = h("p", { class: "hint" });
  const said = h("p", { role: "status" });
  const promises = h("div", {});
  const share = h("input", {
    id: "faults",
    type: "range",
    min: 0,
    max: 50,
    step: 5,
    value: 0,
    disabled: true,
    "aria-describedby": "faults-value",
  });
  const shareValue = h("output", { id: "faults-value", for: "faults" }, "0%");
  const delay = h(
    "select",
    { id: "sns-delay", disabled: true },
    ...[0, 500, 2_000, 5_000].map((ms) => h("option", { value: ms }, ms ? duration(ms) : t("switches.no-delay"))),
  );
  let timer = 0;

  share.addEventListener("input", () => {
    shareValue.textContent = `${share.value}%`;
  });

  function draw() {
    const all = [...world.invocations.values()];
    put(waterfall, waterfallOf(all));
    put(lag, lagOf());
    put(metrics, metricsOf());
    put(failed, failuresOf(all));
  }

  async function readSwitches() {
    const now = /** @type {Switches} */ (await local("/console/switches"));
    share.value = String(Math.round(Number.parseFloat(now.faults)));
    shareValue.textContent = now.faults;
    if (![...delay.options].some((option) => option.value === String(now.snsDelayMs))) {
      delay.append(h("option", { value: now.snsDelayMs }, duration(now.snsDelayMs)));
    }
    delay.value = String(now.snsDelayMs);
    // Until here a choice of the visitor would be overwritten.
    share.disabled = false;
    delay.disabled = false;
    await readFaults();
  }

  async function readFaults() {
    const counted = /** @type {FaultCounts} */ (await local("/local/faults"));
    const met = [counted.dynamodb, counted.sns]
      .flatMap((service) => Object.values(service?.faults ?? {}))
      .reduce((sum, one) => sum + one, 0);
    const requests = (counted.dynamodb?.requests ?? 0) + (counted.sns?.requests ?? 0);
    faults.textContent = requests
      ? t("switches.met", { met: number(met), requests: number(requests) })
      : t("switches.none-met");
  }

  async function setSwitches(/** @type {Event} */ event) {
    event.preventDefault();
    const wanted = { faults: `${share.value}%`, snsDelayMs: Number(delay.value) };
    const answer = await post("/console/switches", wanted).catch(() => null);
    said.textContent = !answer
      ? t("error.network")
      : answer.ok
        ? t("switches.said", { faults: wanted.faults, delay: duration(wanted.snsDelayMs) })
        : problemText(answer.problem, answer.status);
    await readFaults();
  }

  const verify = h(
    "button",
    { id: "verify", type: "button", class: "main", onclick: runVerification },
    t("verify.run"),
  );
  const verifySaid = h("p", { role: "status" });

  async function runVerification() {
    verify.disabled = true;
    verifySaid.textContent = t("verify.running");
    const answer = await post("/console/verification").catch(() => null);
    verify.disabled = false;
    if (!answer?.ok) {
      verifySaid.textContent = answer ? problemText(answer.problem, answer.status) : t("error.network");
      return;
    }
    verified = /** @type {Verification} */ (answer.body);
    verifySaid.textContent = "";
    drawPromises();
    announce(t(verified.differences === 0 ? "verify.held" : "verify.broken", { n: verified.differences }));
    verify.focus();
  }

  function drawPromises() {
    if (!verified) return put(promises, h("p", { class: "hint" }, t("verify.never")));
    const { patients, submissions, alerts, sites, waiting, quarantined, differences, ms, at, listed } = verified;
    const held = differences === 0;
    put(
      promises,
      h(
        "p",
        { class: held ? "verdict good" : "verdict bad" },
        h("span", { "aria-hidden": "true" }, held ? "✓ " : "✗ "),
        t(held ? "verify.held" : "verify.broken", { n: differences }),
      ),
      h(
        "p",
        { class: "hint" },
        t("verify.compared", { patients, submissions, alerts, sites, ms: duration(ms), at: clock(at) }),
      ),
      h("p", { class: "hint" }, t("verify.waiting", { waiting, quarantined })),
      listed.length ? h("ul", { class: "listed" }, ...listed.map((line) => h("li", {}, line))) : null,
      h("ol", { class: "promises" }, ...promiseRows(verified)),
    );
  }

  const stop = listen(() => {
    timer ||= window.setTimeout(() => {
      timer = 0;
      draw();
    }, QUIET);
  });
  const counting = setInterval(() => {
    readFaults();
    readFailures(draw);
  }, 5_000);

  return {
    show(place) {
      put(
        place,
        h("h1", { id: "view-title" }, t("nav.engineer")),
        h("p", { class: "lead" }, t("engineer.lead")),
        h(
          "section",
          { class: "card", "aria-labelledby": "waterfall-title" },
          h("h2", { id: "waterfall-title" }, t("waterfall.title")),
          h("p", { class: "hint" }, t("waterfall.text")),
          waterfall,
        ),
        h(
          "div",
          { class: "columns even" },
          h(
            "div",
            {},
            h(
              "section",
              { class: "card", "aria-labelledby": "switches-title" },
              h("h2", { id: "switches-title" }, t("switches.title")),
              h("p", { class: "hint" }, t("switches.text")),
              h(
                "form",
                { class: "switches", onsubmit: setSwitches },
                h("label", { for: "faults" }, t("switches.faults")),
                h("div", { class: "range" }, share, shareValue),
                h("label", { for: "sns-delay" }, t("switches.delay")),
                delay,
                h(
                  "div",
                  { class: "buttons" },
                  h("button", { id: "set-switches", type: "submit", class: "main" }, t("switches.set")),
                ),
              ),
              said,
              faults,
            ),
            h(
              "section",
              { class: "card", "aria-labelledby": "lag-title" },
              h("h2", { id: "lag-title" }, t("lag.title")),
              h("p", { class: "hint" }, t("lag.text")),
              lag,
            ),
            h(
              "section",
              { class: "card", "aria-labelledby": "failed-title" },
              h("h2", { id: "failed-title" }, t("failed.title")),
              h("p", { class: "hint" }, t("failed.text")),
              failed,
            ),
          ),
          h(
            "section",
            { class: "card", "aria-labelledby": "verify-title" },
            h("h2", { id: "verify-title" }, t("verify.title")),
            h("p", { class: "hint" }, t("verify.text")),
            h("div", { class: "buttons" }, verify),
            verifySaid,
            promises,
          ),
        ),
        h(
          "section",
          { class: "card", "aria-labelledby": "metrics-title" },
          h("h2", { id: "metrics-title" }, t("metrics.title")),
          h("p", { class: "hint" }, t("metrics.text")),
          metrics,
        ),
      );
      draw();
      drawPromises();
      readFailures(draw);
      readSwitches();
    },
    leave() {
      clearTimeout(timer);
      clearInterval(counting);
      stop();
    },
  };
}

/** @type {Failures["failures"]} */
let given = [];

/** @param {() => void} then */
async function readFailures(then) {
  given = /** @type {Failures} */ (await local("/local/failures").catch(() => ({ failures: [] }))).failures;
  then();
}

/** @param {Invocation[]} all */
function waterfallOf(all) {
  const latest = [];
  let next = Number.POSITIVE_INFINITY;
  for (const one of all.slice(-ROWS).reverse()) {
    if (next - one.startedAt > GAP && latest.length > 0) break;
    next = one.startedAt;
    latest.unshift(one);
  }
  if (latest.length === 0) return h("p", { class: "hint" }, t("waterfall.none"));
  const from = Math.min(...latest.map((one) => one.startedAt));
  const until = Math.max(...latest.map((one) => one.startedAt + (one.ms ?? 0)), from + 50);
  const rows = latest.map((one) => {
    const ended = one.ms !== undefined;
    const bad = ended && one.outcome !== "answered";
    return h(
      "tr",
      { class: bad ? "bad-row" : "" },
      h("th", { scope: "row" }, one.function),
      h("td", { class: "cause" }, causeText(one.cause)),
      h("td", { class: "value" }, `+${duration(one.startedAt - from)}`),
      h("td", { class: "bar-cell", "aria-hidden": "true" }, invocationBar(one, from, until)),
      h("td", { class: "value" }, one.ms === undefined ? "…" : duration(one.ms)),
      h("td", { class: "value" }, one.remainingMs === undefined ? "" : duration(one.remainingMs)),
      h(
        "td",
        {},
        one.cold ? h("span", { class: "tag" }, t("invocation.cold")) : null,
        ended
          ? bad
            ? h("span", { class: "tag alert-tag" }, `✗ ${named("outcome", one.outcome ?? "")}`)
            : ""
          : t("outcome.running"),
      ),
    );
  });
  const heads = ["function", "cause", "start", "", "took", "left", "note"];
  return h(
    "table",
    { class: "waterfall" },
    h("caption", { class: "hidden" }, t("waterfall.caption", { n: latest.length, at: clock(from) })),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        ...heads.map((head) =>
          head
            ? h(
                "th",
                { scope: "col", class: FIGURES.has(head) ? "value" : null },
                t(/** @type {any} */ (`waterfall.${head}`)),
              )
            : h("td", {}),
        ),
      ),
    ),
    h("tbody", {}, ...rows),
  );
}

/**
 * @param {Invocation} one
 * @param {number} from
 * @param {number} until
 */
function invocationBar({ startedAt, ms = 0, cold, outcome }, from, until) {
  const scale = 100 / (until - from);
  const look = outcome && outcome !== "answered" ? "bar-bad" : cold ? "bar-cold" : "bar-fill";
  return s(
    "svg",
    { viewBox: "0 0 100 10", preserveAspectRatio: "none", class: "bar-drawing" },
    s("rect", {
      x: ((startedAt - from) * scale).toFixed(2),
      y: 1,
      width: Math.max(ms * scale, 0.6).toFixed(2),
      height: 8,
      class: look,
    }),
  );
}

/** @param {Cause} cause */
function causeText(cause) {
  if (typeof cause !== "object") return named("cause", cause);
  if ("request" in cause) return cause.request.route;
  return t("cause.stream", { n: cause.stream.records });
}

function lagOf() {
  const last = world.lags.at(-1);
  if (!last) return h("p", { class: "hint" }, t("lag.none"));
  const shown = world.lags.slice(-40);
  const most = Math.max(...shown.map((one) => one.ms), 1);
  const drawing = s(
    "svg",
    {
      viewBox: "0 0 200 48",
      class: "spark",
      preserveAspectRatio: "xMinYMax meet",
      role: "img",
      "aria-label": t("lag.label", { n: shown.length, most: duration(most), last: duration(last.ms) }),
    },
    ...shown.map(({ ms }, place) => {
      const height = Math.max(1, (ms / most) * 44);
      return s("rect", { x: place * 5, y: 46 - height, width: 4, height, class: "bar-fill" });
    }),
  );
  return h(
    "div",
    {},
    drawing,
    h("p", {}, t("lag.said", { last: duration(last.ms), most: duration(most), n: shown.length })),
  );
}

function metricsOf() {
  if (world.metrics.size === 0) return h("p", { class: "hint" }, t("metrics.none"));
  const rows = [...world.metrics]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([name, { unit, values, sum, times, function: by }]) => {
      const last = values.at(-1)?.value ?? 0;
      const most = Math.max(...values.map((one) => one.value));
      return h(
        "tr",
        {},
        h("th", { scope: "row" }, name),
        h("td", {}, by),
        h("td", { class: "value" }, `${number(last)} ${unit}`),
        h("td", { class: "value" }, unit === "Count" ? number(sum) : number(most)),
        h("td", { class: "value" }, number(times)),
      );
    });
  return h(
    "table",
    {},
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        ...["name", "function", "last", "sum", "times"].map((head) =>
          h(
            "th",
            { scope: "col", class: FIGURES.has(head) ? "value" : null },
            t(/** @type {any} */ (`metrics.${head}`)),
          ),
        ),
      ),
    ),
    h("tbody", {}, ...rows),
  );
}

/** @param {Invocation[]} all */
function failuresOf(all) {
  const bad = all.filter((one) => one.outcome && one.outcome !== "answered");
  const quarantined = world.changes.filter((change) => change.what === "quarantined").length;
  const least = all
    .filter((one) => one.remainingMs !== undefined)
    .reduce((least, one) => Math.min(least, one.remainingMs ?? least), Number.POSITIVE_INFINITY);
  const facts = [
    [t("failed.invocations"), number(bad.length)],
    [t("failed.quarantined"), number(quarantined)],
    [t("failed.given-up"), number(given.length)],
    [t("failed.least"), Number.isFinite(least) ? duration(least) : "–"],
  ];
  const lines = [
    ...bad
      .slice(-8)
      .reverse()
      .map(
        (one) => `${clock(one.startedAt)} ${one.function}: ${named("outcome", one.outcome ?? "")} ${one.detail ?? ""}`,
      ),
    ...given.slice(0, 8).map((one) => `${one.lastModified} ${one.document.requestContext?.condition ?? ""}`),
  ];
  return h(
    "div",
    {},
    h("dl", { class: "facts" }, ...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    lines.length ? h("ul", { class: "listed" }, ...lines.map((line) => h("li", {}, line))) : null,
  );
}

/** The kinds of differences that speak against a promise, by its number. */
const AGAINST = {
  1: ["unreadable", "answers-do-not-fit", "correction-one-sided"],
  2: ["scores-differ", "not-scored-differs", "definition-missing"],
  3: ["count-too-low", "count-too-high"],
  4: [
    "alert-missing",
    "alert-not-stored",
    "alert-without-reason",
    "list-differs",
    "alert-not-named",
    "quiet-without-reason",
    "status-differs",
    "waits-too-long",
  ],
};

/** @param {Verification} report */
function promiseRows({ byKind }) {
  const of = (/** @type {1 | 2 | 3 | 4} */ promise) =>
    AGAINST[promise].reduce((sum, kind) => sum + (byKind[kind] ?? 0), 0);
  const killed = [...world.invocations.values()].filter((one) => one.outcome === "timedOut").length;
  /** @type {[number, number, string][]} */
  const rows = [
    [1, of(1), t("promise.by-verify")],
    [2, of(2), t("promise.by-verify")],
    [3, of(3), t("promise.by-verify")],
    [4, of(4), t("promise.by-verify")],
    [6, killed, t("promise.by-invocations", { n: world.invocations.size })],
  ];
  return rows.map(([promise, broken, how]) =>
    h(
      "li",
      { value: promise },
      h(
        "span",
        { class: broken ? "bad" : "good" },
        broken ? `✗ ${t("promise.broken", { n: broken })}` : `✓ ${t("promise.held")}`,
      ),
      ` ${t(/** @type {any} */ (`promise.${promise}`))} `,
      h("span", { class: "hint" }, how),
    ),
  );
}
