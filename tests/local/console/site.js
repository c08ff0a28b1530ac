// A site's staff: its patients with their courses as small plots, its counts as bars, and the report.

import { call, local, problemText, report } from "./api.js";
import { h, put, s } from "./dom.js";
import { dateTime, named, number, t } from "./i18n.js";
import { listen } from "./events.js";
import { me } from "./identity.js";

/** @import { Counts, Course, Patient, Patients, SiteCourses, View } from "./types.js" */

/** Changes that come in a burst are read once. */
const QUIET = 400;

/** A plot's size, in the units of its drawing. */
const WIDTH = 180;
const HEIGHT = 56;
const MARGIN = 6;

/** @returns {View} */
export function site() {
  const counts = h("div", {});
  const patients = h("div", {});
  const reportSaid = h("p", { role: "status" });
  let timer = 0;

  async function draw() {
    const { site, study } = me();
    const [counted, listed, courses] = await Promise.all([
      call("staff", me(), "GET /v1/sites/{site}/counts", { path: { site } }).catch(() => null),
      call("staff", me(), "GET /v1/sites/{site}/patients", { path: { site }, query: { limit: 50 } }).catch(() => null),
      local(`/console/courses?study=${encodeURIComponent(study)}&site=${encodeURIComponent(site)}`).catch(() => null),
    ]);
    if (!counted || !listed) {
      put(counts, h("p", { class: "bad" }, t("error.network")));
      return;
    }
    put(
      counts,
      counted.ok ? bars(counted.body) : h("p", { class: "bad" }, problemText(counted.problem, counted.status)),
    );
    put(
      patients,
      listed.ok
        ? table(listed.body, /** @type {SiteCourses | null} */ (courses))
        : h("p", { class: "bad" }, problemText(listed.problem, listed.status)),
    );
  }

  async function fetchReport() {
    reportSaid.textContent = t("report.rendering");
    try {
      const file = await report(me());
      const address = URL.createObjectURL(file);
      const link = h(
        "a",
        { href: address, download: `${me().site}.pdf` },
        t("report.save", { site: me().site, kb: number(Math.ceil(file.size / 1024)) }),
      );
      put(reportSaid, link);
      link.focus();
    } catch (error) {
      reportSaid.textContent = error instanceof Error ? error.message : t("error.network");
    }
  }

  const stop = listen((event) => {
    if (event?.event !== "changed") return;
    timer ||= window.setTimeout(() => {
      timer = 0;
      draw();
    }, QUIET);
  });

  return {
    show(place) {
      put(
        place,
        h("h1", { id: "view-title" }, t("nav.site")),
        h("p", { class: "lead" }, t("site.lead")),
        h(
          "div",
          { class: "columns wide-first" },
          h(
            "section",
            { class: "card", "aria-labelledby": "patients-title" },
            h("h2", { id: "patients-title" }, t("patients.title", { site: me().site })),
            patients,
          ),
          h(
            "div",
            {},
            h(
              "section",
              { class: "card", "aria-labelledby": "counts-title" },
              h("h2", { id: "counts-title" }, t("counts.title")),
              h("p", { class: "hint" }, t("counts.text")),
              counts,
            ),
            h(
              "section",
              { class: "card", "aria-labelledby": "report-title" },
              h("h2", { id: "report-title" }, t("report.title")),
              h("p", { class: "hint" }, t("report.text")),
              h(
                "div",
                { class: "buttons" },
                h("button", { type: "button", id: "report", onclick: fetchReport }, t("report.make")),
              ),
              reportSaid,
            ),
          ),
        ),
      );
      draw();
    },
    leave() {
      clearTimeout(timer);
      stop();
    },
  };
}

/** @param {Counts} counts */
function bars({ counts }) {
  const own = counts.find((one) => one.site === me().site) ?? counts[0];
  if (!own) return h("p", { class: "hint" }, t("counts.none"));
  const kinds = [
    { label: t("counts.submissions"), value: own.submissions },
    ...Object.entries(own.byInstrument).map(([label, value]) => ({
      label: t("counts.of", { instrument: label }),
      value,
    })),
    { label: t("counts.alerts"), value: own.alerts },
    { label: t("counts.calls"), value: own.apiCalls },
  ];
  const most = Math.max(1, ...kinds.map(({ value }) => value));
  const rows = kinds.map(({ label, value }) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, label),
      h("td", { class: "value" }, number(value)),
      h("td", { class: "bar-cell", "aria-hidden": "true" }, bar(value / most)),
    ),
  );
  return h("table", { class: "bars" }, h("tbody", {}, ...rows));
}

/** @param {number} share */
function bar(share) {
  const width = Math.max(share * 100, share > 0 ? 1 : 0);
  return s(
    "svg",
    { viewBox: "0 0 100 8", preserveAspectRatio: "none", class: "bar-drawing" },
    s("rect", { x: 0, y: 0, width, height: 8, rx: 1, class: "bar-fill" }),
  );
}

/**
 * @param {Patients} listed
 * @param {SiteCourses | null} courses
 */
function table({ patients, next }, courses) {
  if (patients.length === 0) return h("p", { class: "hint" }, t("patients.none"));
  const items = patients.map((listed) => {
    const { patient } = listed;
    const own = courses?.patients.find((one) => one.patient === patient)?.courses ?? [];
    return h(
      "li",
      { class: "patient", "data-patient": patient },
      h(
        "div",
        { class: "bar" },
        h("h3", {}, patient),
        "unreadable" in listed ? h("span", { class: "bad" }, listed.unreadable) : standing(listed),
      ),
      h("div", { class: "plots" }, ...(isHidden(listed) ? [] : own.flatMap(plots))),
    );
  });
  return h(
    "div",
    {},
    h("ul", { class: "patients" }, ...items),
    next ? h("p", { class: "hint" }, t("patients.more")) : null,
  );
}

/**
 * Whether a patient who withdrew wished that no data are shown.
 * @param {Patient | { unreadable: string }} listed
 */
function isHidden(listed) {
  return "withdrawn" in listed && listed.withdrawn?.mode === "stop-and-hide";
}

/**
 * A patient's open alerts, withdrawal and last submission.
 * @param {Patient} patient
 */
function standing({ openAlerts = 0, lastSubmission, withdrawn }) {
  return [
    openAlerts > 0 && h("span", { class: "tag alert-tag" }, `▲ ${t("patients.open", { n: openAlerts })}`),
    withdrawn ? h("span", { class: "hint" }, t("patients.withdrawn", { at: dateTime(withdrawn.at) })) : null,
    lastSubmission
      ? h("span", { class: "hint" }, t("patients.last", { at: dateTime(lastSubmission.effectiveAt) }))
      : withdrawn ? null : h("span", { class: "hint" }, t("patients.nothing")),
  ];
}

/**
 * The plots of a course, one for each of its first two scores.
 * @param {Course} course
 */
function plots(course) {
  const ids = [...new Set(course.points.flatMap((point) => point.scores.map((score) => score.id)))].slice(0, 2);
  return ids.map((id) => plot(course, id));
}

/**
 * @param {Course} course
 * @param {string} id
 */
function plot({ instrument, points }, id) {
  const values = points.flatMap(({ at, scores }) => {
    const score = scores.find((score) => score.id === id);
    return score ? [{ at: Date.parse(at), score }] : [];
  });
  const last = values.at(-1);
  if (!last) return null;
  const [low, high] = last.score.range;
  const [first] = values;
  const from = first?.at ?? 0;
  const span = Math.max(1, last.at - from);
  const x = (/** @type {number} */ at) =>
    values.length === 1 ? WIDTH / 2 : MARGIN + ((at - from) / span) * (WIDTH - 2 * MARGIN);
  const y = (/** @type {number} */ value) =>
    HEIGHT - MARGIN - ((value - low) / Math.max(1, high - low)) * (HEIGHT - 2 * MARGIN);
  const path = values
    .map(({ at, score }, place) => `${place === 0 ? "M" : "L"}${x(at).toFixed(1)} ${y(score.value).toFixed(1)}`)
    .join("");
  const band = last.score.band ? ` · ${named("band", last.score.band)}` : "";
  const text = t("plot.text", {
    instrument,
    score: named("score", id),
    n: values.length,
    value: number(last.score.value),
    low: number(low),
    high: number(high),
  });
  return h(
    "figure",
    { class: "plot" },
    s(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": text + band },
      s("line", { x1: 0, x2: WIDTH, y1: y(low), y2: y(low), class: "axis" }),
      s("line", { x1: 0, x2: WIDTH, y1: y(high), y2: y(high), class: "axis faint" }),
      s("path", { d: path, class: "line" }),
      ...values.map(({ at, score }, place) =>
        s("circle", {
          cx: x(at).toFixed(1),
          cy: y(score.value).toFixed(1),
          r: place === values.length - 1 ? 3.5 : 2,
          class: "point",
        }),
      ),
    ),
    h(
      "figcaption",
      {},
      h("strong", {}, instrument),
      ` ${named("score", id)} ${number(last.score.value)}/${number(high)}${band}`,
    ),
  );
}
