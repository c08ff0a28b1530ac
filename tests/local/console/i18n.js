// The page's language. What a patient is asked comes from the API, in the same language.

import { en } from "./texts.en.js";
import { zhHans } from "./texts.zh-Hans.js";

/** @typedef {keyof typeof en} Key */

/** @type {Record<string, Record<Key, string>>} */
const LANGUAGES = { en, "zh-Hans": zhHans };

const KEPT = "epro-console.language";

let language = initial();

/** The language's tag, as the API and `lang` use it. */
export function current() {
  return language;
}

/** @param {string} tag */
export function use(tag) {
  language = tag in LANGUAGES ? tag : "en";
  localStorage.setItem(KEPT, language);
  document.documentElement.lang = language;
  document.title = t("title");
}

/**
 * The text of `key`, with `{name}` replaced by the values.
 * @param {Key} key
 * @param {Record<string, string | number>} [values]
 */
export function t(key, values = {}) {
  const text = LANGUAGES[language]?.[key] ?? en[key];
  return text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/**
 * The text of a computed key, or the key's last part where there is none: rules and bands are a study's own.
 * @param {string} prefix
 * @param {string} name
 */
export function named(prefix, name) {
  const key = `${prefix}.${name}`;
  return key in en ? t(/** @type {Key} */ (key)) : name;
}

/**
 * The text of a definition in the page's language, or in the only one it has.
 * @param {import("./types.js").Texts | undefined} texts
 */
export function own(texts) {
  if (!texts) return "";
  return texts[language] ?? texts.en ?? Object.values(texts)[0] ?? "";
}

/**
 * The tag of the language in which {@link own} returns a text.
 * @param {import("./types.js").Texts | undefined} texts
 */
export function ownTag(texts) {
  if (!texts || language in texts) return language;
  return "en" in texts ? "en" : (Object.keys(texts)[0] ?? language);
}

/**
 * A time of day with milliseconds.
 * @param {string | number} time
 */
export function clock(time) {
  const at = new Date(time);
  const two = (/** @type {number} */ part) => String(part).padStart(2, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

/**
 * A date and time, in 24 hours.
 * @param {string | number} time
 */
export function dateTime(time) {
  const locale = language === "en" ? "en-GB" : language;
  return new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" }).format(new Date(time));
}

/** @param {number} value */
export function number(value) {
  return new Intl.NumberFormat(language).format(value);
}

/**
 * A duration: milliseconds below a second, seconds below ten minutes, then minutes.
 * @param {number} ms
 */
export function duration(ms) {
  if (ms < 1_000) return t("unit.ms", { n: number(Math.round(ms)) });
  if (ms < 600_000) return t("unit.s", { n: number(Math.round(ms / 100) / 10) });
  return t("unit.min", { n: number(Math.round(ms / 60_000)) });
}

function initial() {
  const kept = localStorage.getItem(KEPT);
  if (kept && kept in LANGUAGES) return kept;
  // Traditional Chinese is another language here, as it is for the API.
  return /^zh(-hans.*|-cn|-sg)?$/i.test(navigator.language) ? "zh-Hans" : "en";
}
