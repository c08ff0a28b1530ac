// Submissions that wait on the phone while it is offline, in this browser's storage. Each keeps its id until the API
// has answered for it, so that sending it again stores nothing twice.

import { now } from "./api.js";

/** @import { Identity, Kept, Submission } from "./types.js" */

const KEPT = "epro-console.outbox";
const OFFLINE = "epro-console.offline";

/** The most that one batch holds. */
export const BATCH = 25;

/** @returns {Kept[]} */
export function waiting() {
  try {
    return JSON.parse(localStorage.getItem(KEPT) ?? "[]");
  } catch {
    return [];
  }
}

/**
 * @param {Identity} identity
 * @param {Submission} submission
 */
export function keep(identity, submission) {
  const others = waiting().filter((kept) => kept.submission.id !== submission.id);
  localStorage.setItem(KEPT, JSON.stringify([...others, { identity, submission }]));
}

/** @param {string[]} ids */
export function drop(ids) {
  localStorage.setItem(KEPT, JSON.stringify(waiting().filter((kept) => !ids.includes(kept.submission.id))));
}

/** Whether the phone is offline: by the visitor's switch, or because the browser says so. */
export function isOffline() {
  return localStorage.getItem(OFFLINE) === "yes" || !navigator.onLine;
}

/** @param {boolean} offline */
export function setOffline(offline) {
  localStorage.setItem(OFFLINE, offline ? "yes" : "no");
}

/**
 * A UUID of version 7, which begins with the time, so that ids sort as they were made.
 * @returns {string}
 */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let time = now();
  for (let place = 5; place >= 0; place -= 1) {
    bytes[place] = time % 256;
    time = Math.floor(time / 256);
  }
  bytes[6] = 0x70 | ((bytes[6] ?? 0) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f);
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** The device's time with its offset, `2026-11-26T08:30:00+01:00`. */
export function deviceTime() {
  const device = new Date(now());
  const minutes = -device.getTimezoneOffset();
  const two = (/** @type {number} */ part) => String(Math.trunc(Math.abs(part))).padStart(2, "0");
  const local = new Date(device.getTime() + minutes * 60_000).toISOString().slice(0, 19);
  return `${local}${minutes < 0 ? "-" : "+"}${two(minutes / 60)}:${two(minutes % 60)}`;
}
