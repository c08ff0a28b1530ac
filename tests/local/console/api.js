// Talks to the HTTP API as each role, and to the local cloud's own routes.

import { current } from "./i18n.js";

/** @import { AnswerTo, GatewayMessage, Identity, LocalProblem, Problem, Request, Route } from "./types.js" */

/** @typedef {"patient" | "staff" | "clinician"} Role */

/** The body of a refusal; null where it cannot be read. @typedef {Problem | GatewayMessage | LocalProblem | null} Refusal */

/**
 * @template T
 * @typedef {{status: number, ok: true, body: T, correlationId: string} |
 *   {status: number, ok: false, problem: Refusal, correlationId: string}} Answered
 */

/** A token is renewed this many milliseconds after it was issued; it lives for an hour. */
const RENEW = 50 * 60_000;

/** @type {Map<string, {token: Promise<string>, at: number}>} */
const tokens = new Map();

/** By how many milliseconds the local cloud's clock, which can be moved, is ahead of this machine's. */
let ahead = 0;

/** The time of the local cloud, in milliseconds; the patient's device has it too. */
export function now() {
  return Date.now() + ahead;
}

/** Reads how far the clock was moved. What was signed before a move may be over. */
export async function readClock() {
  const response = await fetch("/local/clock").catch(() => null);
  if (!response?.ok) return;
  const read = (await response.json()).offsetSeconds * 1000;
  if (read === ahead) return;
  ahead = read;
  tokens.clear();
}

/**
 * A token of the local issuer, which signs what it is asked for. In production tokens come from an identity provider.
 * @param {Role} role
 * @param {Identity} identity
 * @returns {Promise<string>}
 */
function token(role, { study, site, patient }) {
  /** @type {Record<string, string>} */
  const claims = { role, study, sites: site };
  if (role === "patient") claims.patient = patient;
  const body = JSON.stringify(claims);
  const known = tokens.get(body);
  if (known && Date.now() - known.at < RENEW) return known.token;
  const fresh = fetch("/local/tokens", { method: "POST", body }).then(async (response) => {
    if (!response.ok) throw new Error(`/local/tokens: ${response.status}`);
    return /** @type {string} */ ((await response.json()).accessToken);
  });
  tokens.set(body, { token: fresh, at: Date.now() });
  // A failed request is repeated by the next call.
  fresh.catch(() => tokens.delete(body));
  return fresh;
}

/**
 * Calls the API as `role`. An answer of any status is returned; the promise is rejected where there is none.
 * @template {Route} R
 * @param {Role} role
 * @param {Identity} identity
 * @param {R} route
 * @param {Request<R>} request
 * @returns {Promise<Answered<AnswerTo<R>>>}
 */
export async function call(role, identity, route, request) {
  return answered(await send(role, identity, route, request));
}

/**
 * The report of a site, as a file.
 * @param {Identity} identity
 * @returns {Promise<Blob>}
 */
export async function report(identity) {
  const { site } = identity;
  const request = { path: { site }, query: { lang: current() } };
  const response = await send("staff", identity, "GET /v1/sites/{site}/report", request);
  if (!response.ok) throw new Error(problemText(await response.json().catch(() => null), response.status));
  return response.blob();
}

/**
 * @template {Route} R
 * @param {Role} role
 * @param {Identity} identity
 * @param {R} route
 * @param {Request<R>} request
 */
async function send(role, identity, route, request) {
  const [method, path = ""] = route.split(" ");
  /** @type {{path?: Record<string, string>, query?: Record<string, string | number>, body?: unknown}} */
  const { path: named = {}, query = {}, body } = request;
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(named[name] ?? ""));
  const pairs = Object.entries(query).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  /** @type {Record<string, string>} */
  const headers = {
    authorization: `Bearer ${await token(role, identity)}`,
    "accept-language": current(),
    // The events name it, so that this page finds the invocation that answered.
    "x-correlation-id": crypto.randomUUID(),
  };
  if (body !== undefined) headers["content-type"] = "application/json";
  const address = pairs.length > 0 ? `${filled}?${pairs.join("&")}` : filled;
  return fetch(address, { method, headers, body: body === undefined ? null : JSON.stringify(body) });
}

/**
 * Reads one of the local cloud's own routes.
 * @template T
 * @param {string} path
 * @returns {Promise<T>}
 */
export async function local(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

/**
 * Posts to one of the local cloud's own routes, with the header that no page of another origin can send.
 * @template T
 * @param {string} path
 * @param {unknown} [body]
 * @returns {Promise<Answered<T>>}
 */
export async function post(path, body) {
  /** @type {Record<string, string>} */
  const headers = { "x-epro-console": "1" };
  if (body !== undefined) headers["content-type"] = "application/json";
  return answered(
    await fetch(path, { method: "POST", headers, body: body === undefined ? null : JSON.stringify(body) }),
  );
}

/**
 * What a person reads of a problem.
 * @param {Refusal} problem
 * @param {number} status
 */
export function problemText(problem, status) {
  if (!problem) return String(status);
  if ("message" in problem) return `${status} ${problem.message}`;
  const findings = "errors" in problem ? (problem.errors ?? []) : [];
  const faults = findings.map((fault) => `${fault.pointer} ${fault.detail}`);
  return [`${status} ${problem.title}`, problem.detail, ...faults].join(" · ");
}

/**
 * @template T
 * @param {Response} response
 * @returns {Promise<Answered<T>>}
 */
async function answered(response) {
  const body = await response.json().catch(() => null);
  const correlationId = response.headers.get("x-correlation-id") ?? "";
  const { status, ok } = response;
  return ok ? { status, ok, body, correlationId } : { status, ok, problem: body, correlationId };
}
