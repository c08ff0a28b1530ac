// The page: its views, its language, and who the visitor is.

import { announce, focus, h, put } from "./dom.js";
import { clinician } from "./clinician.js";
import { engineer } from "./engineer.js";
import { connect, listen, world } from "./events.js";
import { become, me } from "./identity.js";
import { current, t, use } from "./i18n.js";
import { local, readClock } from "./api.js";
import { patient } from "./patient.js";
import { site } from "./site.js";

/** @import { Study, View } from "./types.js" */

/** @type {Record<string, () => View>} */
const VIEWS = { patient, clinician, site, engineer };

/** @type {View | null} */
let shown = null;

/** @type {Study["sites"]} */
let sites = [];

function name() {
  const asked = location.hash.slice(1);
  return asked in VIEWS ? asked : "patient";
}

/** @param {boolean} moved whether the visitor went to another view, so that the focus goes with it */
function draw(moved) {
  drawHeader();
  shown?.leave?.();
  const view = /** @type {() => View} */ (VIEWS[name()])();
  shown = view;
  view.show(/** @type {HTMLElement} */ (document.getElementById("view")));
  if (moved) {
    focus(document.getElementById("view-title"));
    window.scrollTo({ top: 0 });
  }
}

function drawHeader() {
  const links = Object.keys(VIEWS).map((view) =>
    h(
      "li",
      {},
      h(
        "a",
        { href: `#${view}`, id: `nav-${view}`, "aria-current": view === name() ? "page" : null },
        t(/** @type {any} */ (`nav.${view}`)),
      ),
    ),
  );
  put(/** @type {HTMLElement} */ (document.getElementById("skip")), t("skip"));
  const nav = /** @type {HTMLElement} */ (document.getElementById("nav"));
  nav.setAttribute("aria-label", t("nav.label"));
  put(nav, h("ul", {}, ...links));
  const languages = [
    { tag: "en", text: "English" },
    { tag: "zh-Hans", text: "中文" },
  ].map(({ tag, text }) =>
    h(
      "button",
      {
        id: `language-${tag}`,
        type: "button",
        lang: tag,
        "aria-pressed": tag === current() ? "true" : "false",
        onclick: () => speak(tag),
      },
      text,
    ),
  );
  const language = /** @type {HTMLElement} */ (document.getElementById("language"));
  language.setAttribute("aria-label", t("language"));
  put(language, ...languages);
  put(/** @type {HTMLElement} */ (document.getElementById("about")), t("about"));
  put(/** @type {HTMLElement} */ (document.getElementById("imitated")), t("footer"), " ", contract());
  drawIdentity();
  drawLive();
}

/** A link to the contract's page, which the local cloud serves beside this one. */
function contract() {
  return h("a", { href: "/docs" }, t("contract"));
}

function drawIdentity() {
  const { study, site, patient } = me();
  const place = /** @type {HTMLElement} */ (document.getElementById("identity"));
  const wasOpen = place.querySelector("details")?.open ?? false;
  const field = (/** @type {"study" | "site" | "patient"} */ key, /** @type {string} */ value) => {
    const input = h("input", { id: `who-${key}`, value, maxlength: 64, autocomplete: "off", spellcheck: "false" });
    return { input, shown: h("div", {}, h("label", { for: `who-${key}` }, t(`who.${key}`)), input) };
  };
  const studyField = field("study", study);
  const patientField = field("patient", patient);
  const siteField = field("site", site);
  siteField.input.setAttribute("list", "sites");
  const known = h("datalist", { id: "sites" }, ...sites.map((one) => h("option", { value: one.id }, one.name)));
  const change = (/** @type {Event} */ event) => {
    event.preventDefault();
    const typed = (/** @type {{input: HTMLInputElement}} */ { input }, /** @type {string} */ before) =>
      input.value.trim() || before;
    become({ study: typed(studyField, study), site: typed(siteField, site), patient: typed(patientField, patient) });
    announce(t("who.said", { ...me() }));
    readSites();
    draw(false);
    document.getElementById("who-summary")?.focus();
  };
  put(
    place,
    h(
      "details",
      { open: wasOpen },
      h("summary", { id: "who-summary" }, t("who.summary", { ...me() })),
      h(
        "form",
        { class: "who", onsubmit: change },
        studyField.shown,
        siteField.shown,
        known,
        patientField.shown,
        h("button", { type: "submit" }, t("who.change")),
      ),
      h("p", { class: "hint" }, t("who.text")),
    ),
  );
}

function drawLive() {
  const place = /** @type {HTMLElement} */ (document.getElementById("live"));
  const text = world.live ? `● ${t("live.yes")}` : `○ ${t("live.no")}`;
  if (place.textContent !== text) place.textContent = text;
  place.classList.toggle("off", !world.live);
}

/** The sites of the study, for the choice among them; none where the study is not stored. */
async function readSites() {
  const study = /** @type {Study | null} */ (
    await local(`/console/study?id=${encodeURIComponent(me().study)}`).catch(() => null)
  );
  sites = study?.sites ?? [];
  drawIdentity();
}

/** @param {string} tag */
function speak(tag) {
  use(tag);
  draw(false);
  document.getElementById(`language-${tag}`)?.focus();
}

window.addEventListener("hashchange", () => draw(true));
listen((event) => {
  if (event === null) drawLive();
});
use(current());
draw(false);
connect();
readSites();
readClock();
setInterval(readClock, 5_000);
