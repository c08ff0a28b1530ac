// A headless Chromium, and what the walks have in common.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { EPRO_CONSOLE: url = "", EPRO_CONSOLE_TOOLS: tools = "", EPRO_CONSOLE_SHOTS: shots = "" } = process.env;
const requireTool = createRequire(`${tools}/`);
/** @type {typeof import("playwright-core")} */
const { chromium } = requireTool("playwright-core");
const axe = readFileSync(requireTool.resolve("axe-core/axe.min.js"), "utf8");

export { url };

/** Chromium would look for addresses of its own maker, which a closed network refuses one by one. */
const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

mkdirSync(shots, { recursive: true });

/** @type {import("playwright-core").Browser} */
let browser;

export async function startBrowser() {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ARGUMENTS });
}

export async function stopBrowser() {
  await browser.close();
}

/**
 * A page of a visitor of its own. What it reports as an error, and each address elsewhere that it asks for, is kept in
 * `wrong`, which must be empty at the end.
 * @param {{patient: string, study?: string, view?: string}} who
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export async function visit({ patient, study = "EPRO-DEMO", view = "patient" }, options = {}) {
  const context = await browser.newContext({ locale: "en-GB", viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  /** @type {string[]} */
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("console", (message) => {
    // An answer that refuses something is written to the console by the browser; tests of refusals ask for it.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) wrong.push(message.text());
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("blob:")) wrong.push(`asked for ${request.url()}`);
  });
  await page.goto(`${url}/?study=${study}&site=S01&patient=${patient}#${view}`);
  await page.locator("#live", { hasText: /live|实时/ }).waitFor();
  const close = async () => {
    assert.deepEqual(wrong, []);
    await context.close();
  };
  return { page, context, close };
}

/**
 * Answers the PHQ-9 and goes on to the review.
 * @param {import("playwright-core").Page} page
 * @param {number[]} answers
 */
export async function answerPhq9(page, answers) {
  await page.locator("[data-instrument='phq-9']").click();
  for (const [place, answer] of answers.entries()) {
    await page.locator(`input[name='item-${place + 1}'][value='${answer}']`).check();
    await page.locator(".ask button.main").click();
  }
  await page.locator(".answers").waitFor();
}

/**
 * Waits until the course shows a step as reached in this way.
 * @param {import("playwright-core").Page} page
 * @param {string} step
 * @param {"done" | "none"} [reached]
 */
export async function reached(page, step, reached = "done") {
  await page.locator(`.course li.${reached}[data-step='${step}']`).first().waitFor();
}

/**
 * The serious and critical findings of axe.
 * @param {import("playwright-core").Page} page
 * @returns {Promise<string[]>}
 */
export async function findings(page) {
  await page.evaluate(axe);
  const result = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })");
  /** @type {import("axe-core").Result[]} */
  const violations = /** @type {any} */ (result).violations;
  const grave = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  return grave.map(
    ({ id, nodes }) =>
      `${id}: ${nodes
        .map((node) => node.html)
        .slice(0, 3)
        .join(" ")}`,
  );
}

/**
 * By how many pixels the page is wider than its window.
 * @param {import("playwright-core").Page} page
 * @returns {Promise<number>}
 */
export function overflow(page) {
  return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
}

/**
 * @param {import("playwright-core").Page} page
 * @param {string} name
 */
export async function shoot(page, name) {
  await page.screenshot({ path: `${shots}/${name}.png`, fullPage: true });
}

/**
 * Asks the API as a test does that knows nothing of the page.
 * @param {{role: string, study?: string, patient?: string}} claims
 * @param {string} path
 * @param {RequestInit} [request]
 * @returns {Promise<any>}
 */
export async function api({ role, study = "EPRO-DEMO", patient }, path, request = {}) {
  const body = JSON.stringify({ role, study, sites: "S01", ...(patient ? { patient } : {}) });
  const { accessToken } = await (await fetch(`${url}/local/tokens`, { method: "POST", body })).json();
  const headers = { authorization: `Bearer ${accessToken}`, "content-type": "application/json" };
  const response = await fetch(url + path, { ...request, headers });
  assert.ok(response.ok, `${path}: ${response.status}`);
  return response.json();
}
