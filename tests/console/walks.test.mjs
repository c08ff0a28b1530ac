// A person's walks through the console, in a real browser, over a local cloud with the functions' own binaries.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";

import {
  answerPhq9,
  api,
  findings,
  overflow,
  reached,
  shoot,
  startBrowser,
  stopBrowser,
  url,
  visit,
} from "./browser.mjs";

/** @import { Alerts, Counts } from "../local/console/types.js" */

const STEPS = ["sent", "stored", "streamed", "scored", "counted", "alerted", "published"];
const PHQ9 = JSON.parse(
  readFileSync(new URL("../../shared/clinical/instruments/phq-9/1.0.0.json", import.meta.url), "utf8"),
);

/** Item 9 is 1, so that the clinicians are alerted; the total is 8. */
const ALERTING = [1, 0, 1, 1, 0, 2, 1, 1, 1, 0];
const QUIET = [1, 0, 1, 0, 0, 0, 0, 0, 0, 0];

before(startBrowser);
after(stopBrowser);

describe("from the PHQ-9 to the acknowledged alert", () => {
  for (const [language, locale, total, said] of /** @type {const} */ ([
    ["en", "en-GB", "Total 8 of 27", "Acknowledged by"],
    ["zh-Hans", "zh-CN", "总分 8，满分 27", "由 clinician-1 确认"],
  ])) {
    test(`in ${language}`, async () => {
      const patient = `WALK-${language}`;
      const { page, close } = await visit({ patient }, { locale });
      assert.equal(await page.locator("html").getAttribute("lang"), language);
      await page.locator("[data-instrument='phq-9']").click();
      await page.locator("input[name='item-1']").first().waitFor();
      // What is asked is the definition's own text in the language of the page.
      assert.equal(await page.locator(".instruction").innerText(), PHQ9.instruction[language]);
      for (const [place, answer] of ALERTING.entries()) {
        const item = PHQ9.items[place];
        await page.locator(`input[name='item-${item.id}']`).first().waitFor();
        assert.equal(await page.locator(".asked").innerText(), item.text[language]);
        const choices = PHQ9.codeLists[item.codes].map((/** @type {any} */ choice) => choice.text[language]);
        assert.deepEqual(await page.locator(".choice").allInnerTexts(), choices);
        await page.locator(".choice").nth(answer).click();
        if (place === 8) await shoot(page, `question-${language}`);
        await page.locator(".ask button.main").click();
      }
      await page.locator(".answers").waitFor();
      await shoot(page, `review-${language}`);
      await page.locator(".phone button.main").click();
      for (const step of STEPS) await reached(page, step);
      await page.locator("[data-step='scored']", { hasText: total }).waitFor();
      // Each step has its time, and each invocation the time that it had left.
      const times = await page
        .locator(".course time")
        .evaluateAll((all) => all.map((one) => Date.parse(one.getAttribute("datetime") ?? "")));
      assert.equal(times.length, STEPS.length);
      assert.deepEqual(
        times,
        [...times].sort((a, b) => a - b),
        "the steps are in the order of their times",
      );
      await page.locator("[data-step='stored'] .invocation", { hasText: "submit" }).waitFor();
      await page.locator("[data-step='scored'] .invocation", { hasText: "score" }).waitFor();
      await shoot(page, `course-${language}`);

      await page.locator("#nav-clinician").click();
      const alert = page.locator("article.alert", { hasText: patient });
      await alert.locator("textarea").fill(`called ${patient}, safe`);
      await shoot(page, `clinician-${language}`);
      await alert.locator("button[type='submit']").click();
      await alert.waitFor({ state: "detached" });
      await page.locator("#alert-status").selectOption("acknowledged");
      await page.locator("article.alert", { hasText: patient }).getByText(said).waitFor();
      await page.locator("article.alert q", { hasText: `called ${patient}, safe` }).waitFor();
      await page.locator("#nav-patient").click();
      await reached(page, "acknowledged");
      await close();

      /** @type {Alerts} */
      const { alerts } = await api({ role: "clinician" }, "/v1/sites/S01/alerts?status=acknowledged");
      const own = alerts.flatMap((one) => ("patient" in one && one.patient === patient ? [one] : []));
      assert.deepEqual(
        own.map((one) => [one.rule, one.status]),
        [["safety", "acknowledged"]],
      );
    });
  }

  test("by keyboard alone", async () => {
    const patient = "WALK-KEYS";
    const { page, close } = await visit({ patient });
    const key = (/** @type {string} */ name) => page.keyboard.press(name);
    const focused = () =>
      page.evaluate("document.activeElement.id || document.activeElement.name || document.activeElement.textContent");
    /** Tabs until the focus is where it should be. @param {string} wanted a selector */
    const tabTo = async (wanted) => {
      for (let presses = 0; presses < 60; presses += 1) {
        if (await page.evaluate((selector) => document.activeElement?.matches(selector) ?? false, wanted)) return;
        await key("Tab");
      }
      assert.fail(`Tab does not lead to ${wanted}, but to ${await focused()}`);
    };
    await key("Tab");
    assert.equal(await focused(), "skip", "the first stop skips what is the same on every view");
    await page.locator("[data-instrument='phq-9']").waitFor();
    await tabTo("[data-instrument='phq-9']");
    await key("Enter");
    for (const [place, answer] of ALERTING.entries()) {
      await page
        .locator(`input[name='item-${place + 1}']`)
        .first()
        .waitFor();
      await page.locator("[data-focus]:focus").waitFor();
      await tabTo(`input[name='item-${place + 1}']`);
      await key("Space");
      for (let step = 0; step < answer; step += 1) await key("ArrowDown");
      const outline = await page.evaluate("getComputedStyle(document.activeElement.closest('.choice')).outlineStyle");
      assert.equal(outline, "solid", "the focus is visible");
      await key("Enter");
    }
    await page.locator(".answers").waitFor();
    await tabTo(".phone button.main");
    await key("Enter");
    for (const step of STEPS) await reached(page, step);
    await tabTo("#nav-clinician");
    await key("Enter");
    await page.locator("#view-title:focus").waitFor();
    await page.locator("article.alert", { hasText: patient }).waitFor();
    const own = await page.locator("article.alert", { hasText: patient }).getAttribute("data-alert");
    await tabTo(`#note-${own}`);
    await page.keyboard.type("seen");
    await tabTo(`#ack-${own}`);
    await key("Enter");
    await page.locator(`[data-alert='${own}']`).waitFor({ state: "detached" });
    await close();
  });
});

describe("the patient's phone", () => {
  test("asks what the answers before lead to, and lets no needed answer out unnoticed", async () => {
    const { page, close } = await visit({ patient: "BRANCH", study: "CONSOLE-TEST" });
    await page.locator("[data-instrument='night']").click();
    const next = page.locator(".ask button.main");
    const asks = (/** @type {string} */ text) => page.locator(".asked", { hasText: text }).waitFor();
    await asks("wake up");
    await next.click();
    await page.locator("#question-problem", { hasText: "choose an answer" }).waitFor();
    await page.locator("input[name='item-woke'][value='1']").check();
    await next.click();
    await asks("How many times");
    await page.locator("#answer").fill("41");
    await next.click();
    await page.locator("#question-problem", { hasText: "choose an answer" }).waitFor();
    await page.locator("#answer").fill("3");
    await next.click();
    await asks("What woke you");
    await page.locator("input[name='item-by'][value='1']").check();
    await page.locator("input[name='item-by'][value='3']").check();
    await next.click();
    await asks("hours");
    await page.locator("#answer").fill("2.5");
    await next.click();
    await asks("anything else");
    await next.click();
    await page.locator("#question-problem", { hasText: "choose an answer" }).waitFor();
    // With more sleep the same question may be left out.
    await page.getByRole("button", { name: "Back" }).click();
    await asks("hours");
    await page.locator("#answer").fill("7.5");
    await next.click();
    await asks("anything else");
    await next.click();
    // And without waking up two questions are not asked, and their answers not sent: the API would refuse them.
    await page.getByRole("button", { name: /Change the answer to: Did you wake/ }).click();
    await page.locator("input[name='item-woke'][value='0']").check();
    await next.click();
    await asks("hours");
    await next.click();
    await asks("anything else");
    await next.click();
    assert.equal(await page.locator(".answers > div").count(), 3);
    await page.locator(".phone button.main").click();
    await reached(page, "scored");
    await reached(page, "published", "none");
    await page.locator("[data-step='scored']", { hasText: "7.5 of 24" }).waitFor();
    await close();
  });

  test("keeps submissions while offline, and sends a batch whose repeat stores nothing twice", async () => {
    const patient = "OFFLINE";
    const { page, context, close } = await visit({ patient });
    await page.locator("[data-instrument='pain-nrs']").waitFor();
    /** @type {Counts} */
    const earlier = await api({ role: "staff" }, "/v1/sites/S01/counts");
    const before = earlier.counts[0]?.submissions ?? 0;
    const pain = async (/** @type {number} */ value) => {
      await page.locator("[data-instrument='pain-nrs']").click();
      await page.locator(`input[name='item-1'][value='${value}']`).check();
      await page.locator(".ask button.main").click();
      await page.locator(".phone button.main").click();
    };
    await page.locator("#offline").check();
    for (const value of [2, 3]) {
      await pain(value);
      await page.locator("[data-focus]", { hasText: "Kept on the phone" }).waitFor();
      await page.locator(".phone button.main").click();
    }
    await shoot(page, "offline");
    assert.ok(await page.locator("#send-kept").isDisabled());
    await page.reload();
    assert.equal(await page.locator(".kept li").count(), 2, "they outlive the page");
    await page.locator("#offline").uncheck();
    // The network fails after the API has stored the batch: its answer is lost.
    await page.route("**/v1/submissions/batch", async (route) => {
      await route.fetch();
      await route.abort();
    });
    await page.locator("#send-kept").click();
    await page.locator(".results", { hasText: "does not answer" }).waitFor();
    assert.equal(await page.locator(".kept li").count(), 2, "what has no answer stays");
    await page.unroute("**/v1/submissions/batch");
    await page.locator("#send-kept").click();
    await page.locator(".results li", { hasText: "200 stored already" }).nth(1).waitFor();
    assert.equal(await page.locator(".kept li").count(), 0);
    await reached(page, "scored");
    await shoot(page, "batch");
    // The network itself fails while one is sent.
    await page.locator("[data-instrument='pain-nrs']").waitFor();
    await page.locator("[data-instrument='pain-nrs']").click();
    await page.locator("input[name='item-1'][value='1']").check();
    await page.locator(".ask button.main").click();
    await context.setOffline(true);
    await page.locator(".phone button.main").click();
    await page.locator("[data-focus]", { hasText: "Kept on the phone" }).waitFor();
    await context.setOffline(false);
    await page.locator("#send-kept:enabled").click();
    await page.locator(".results li", { hasText: "202 accepted" }).waitFor();
    await reached(page, "counted");
    await close();
    await until(async () => {
      /** @type {Counts} */
      const { counts } = await api({ role: "staff" }, "/v1/sites/S01/counts");
      return counts[0]?.submissions === before + 3;
    }, "three submissions are counted, and no more");
  });

  test("gets the same receipt for the same submission", async () => {
    const { page, close } = await visit({ patient: "REPEAT" });
    await answerPhq9(page, QUIET);
    await page.locator(".phone button.main").click();
    await page.locator(".phone", { hasText: "202 Accepted" }).waitFor();
    const receipt = await page.locator(".phone .facts").innerText();
    await reached(page, "alerted", "none");
    await page.getByRole("button", { name: "Send the same again" }).click();
    await page.locator(".phone", { hasText: "200 OK" }).waitFor();
    assert.equal(await page.locator(".phone .facts").innerText(), receipt);
    await close();
  });
});

test("an alert that nobody acknowledges escalates", async () => {
  // The cloud of this test escalates at once where a study defines nothing, as DEMO does.
  const patient = "LATE";
  const { page, close } = await visit({ patient, study: "DEMO" });
  await answerPhq9(page, ALERTING);
  await page.locator(".phone button.main").click();
  await reached(page, "published");
  await page.locator("#nav-clinician").click();
  const alert = page.locator("article.alert", { hasText: patient });
  await alert.waitFor();
  await until(async () => {
    await page.locator("#sweep").click();
    return alert.locator("dd", { hasText: /^[1-3]×$/ }).isVisible();
  }, "sweep publishes the alert again");
  await page.locator(".inbox li", { hasText: "repeated: 1" }).waitFor();
  await shoot(page, "escalated");
  await page.locator("#nav-patient").click();
  await reached(page, "escalated");
  await close();
});

test("the demonstration study can be made to escalate after a minute", async () => {
  const { page, close } = await visit({ patient: "SOON", view: "clinician" });
  await page.getByText("after 30 minutes").waitFor();
  await page.locator("#escalate-soon").click();
  await page.getByText("after 1 minutes").waitFor();
  assert.ok(await page.locator("#escalate-soon").isHidden());
  await close();
});

test("a site sees its patients' courses, its counts and the report", async () => {
  const patient = "COURSE";
  for (const [week, value] of [2, 4, 7, 5].entries()) {
    const authoredAt = new Date(Date.now() - (10 - week) * 24 * 3_600_000).toISOString();
    const id = crypto.randomUUID();
    const body = JSON.stringify({ id, instrument: "pain-nrs", version: "1.0.0", authoredAt, answers: { 1: value } });
    await api({ role: "patient", patient }, "/v1/submissions", { method: "POST", body });
  }
  const { page, close } = await visit({ patient, view: "site" });
  const plot = page.locator(`[data-patient='${patient}'] .plot svg`);
  await plot.and(page.getByLabel("4 points, latest 5 on a scale from 0 to 10")).waitFor();
  /** @type {Counts} */
  const { counts } = await api({ role: "staff" }, "/v1/sites/S01/counts");
  await page
    .locator(".bars tr", { hasText: "of these, pain-nrs" })
    .getByText(String(counts[0]?.byInstrument["pain-nrs"]))
    .waitFor();
  await page.locator("#report").click();
  const link = page.locator("a[download='S01.pdf']");
  await link.waitFor();
  const [download] = await Promise.all([page.waitForEvent("download"), link.click()]);
  const pdf = readFileSync(/** @type {string} */ (await download.path()));
  assert.equal(pdf.subarray(0, 5).toString(), "%PDF-");
  await shoot(page, "site");
  await close();
});

test("an engineer sees invocations and metrics, and the promises hold under faults and a slow SNS", async () => {
  const { page, close } = await visit({ patient: "FAULTS", view: "engineer" });
  await page.locator("#faults").fill("20");
  await page.locator("#sns-delay").selectOption("500");
  await page.locator("#set-switches").click();
  await page.getByText("Faults are at 20%").waitFor();
  await page.locator("#nav-patient").click();
  for (let times = 0; times < 3; times += 1) {
    await answerPhq9(page, ALERTING).catch(() => assert.fail("the questionnaire is not shown under faults"));
    await page.locator(".phone button.main").click();
    await page.locator("[data-focus]", { hasText: /Sent|Kept on the phone/ }).waitFor();
    await page.locator(".phone button.main").click();
    await page.locator("[data-instrument='phq-9']").waitFor();
  }
  await page.locator("#nav-engineer").click();
  await page.locator("#faults").fill("0");
  await page.locator("#sns-delay").selectOption("0");
  await page.locator("#set-switches").click();
  await page.getByText("Faults are at 0%").waitFor();
  await page.locator("#nav-patient").click();
  // What met a fault waits on the phone, and is settled by its repeat.
  const kept = page.locator("#send-kept");
  if (await kept.isVisible()) await kept.click();
  await until(async () => (await page.locator(".kept li").count()) === 0, "nothing waits on the phone");
  await page.locator("#nav-engineer").click();
  await page.locator(".waterfall .tag", { hasText: "cold start" }).first().waitFor();
  await page.locator(".waterfall th", { hasText: "score" }).first().waitFor();
  await page.getByText(/[1-9]\d* of \d+ requests through the proxy met a fault/).waitFor();
  await fetch(`${url}/local/schedules/sweep`, { method: "POST" });
  await page.locator("#metrics-title ~ .scroll th", { hasText: "OldestPendingSeconds" }).waitFor();
  await page.locator("#verify").click();
  await page.locator(".verdict.good", { hasText: "Nothing differs" }).waitFor();
  assert.equal(await page.locator(".promises li").count(), 5);
  await shoot(page, "engineer");
  await close();
});

describe("every view, for everybody", () => {
  for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
    for (const locale of ["en-GB", "zh-CN"]) {
      test(`has no serious finding of axe, and no horizontal scrolling on a phone: ${colorScheme}, ${locale}`, async () => {
        const options = {
          colorScheme,
          locale,
          viewport: { width: 360, height: 760 },
          reducedMotion: /** @type {const} */ ("reduce"),
        };
        const { page, close } = await visit({ patient: `AXE-${colorScheme}-${locale}` }, options);
        const check = async (/** @type {string} */ name) => {
          assert.deepEqual(await findings(page), [], name);
          assert.ok((await overflow(page)) <= 0, `${name} is wider than a phone`);
          await shoot(page, `phone-${colorScheme}-${locale}-${name}`);
        };
        await page.locator("[data-instrument='phq-9']").waitFor();
        await check("choose");
        await page.locator("[data-instrument='pain-nrs']").click();
        await page.locator("input[name='item-1']").first().waitFor();
        await check("scale");
        await page.locator(".ask button.main + button").click();
        await page.locator("[data-instrument='phq-9']").click();
        await page.locator("input[name='item-1']").first().waitFor();
        await page.locator(".ask button.main").click();
        await check("needed");
        await page.locator(".ask button.main + button").click();
        await answerPhq9(page, ALERTING);
        await check("review");
        await page.locator(".phone button.main").click();
        for (const step of STEPS) await reached(page, step);
        assert.equal(await page.evaluate("document.getAnimations().length"), 0, "nothing moves");
        await check("sent");
        await page.locator("#who-summary").click();
        await check("who");
        await page.locator("#nav-clinician").click();
        await page.locator("article.alert").first().waitFor();
        await check("clinician");
        await page.locator("#nav-site").click();
        await page.locator(".plot svg").first().waitFor();
        await check("site");
        await page.locator("#nav-engineer").click();
        await page.locator("#verify").click();
        await page.locator(".verdict").waitFor();
        await check("engineer");
        await close();
      });
    }
  }

  test("is refused to other pages of the same browser", async () => {
    const post = { method: "POST", body: JSON.stringify({ faults: "100%", snsDelayMs: 0 }) };
    const own = { "x-epro-console": "1", "content-type": "application/json" };
    for (const [path, request] of /** @type {[string, RequestInit][]} */ ([
      ["/console/switches", { ...post, headers: { "content-type": "application/json" } }],
      ["/console/switches", { ...post, headers: { ...own, origin: "http://evil.example" } }],
      ["/console/switches", { ...post, headers: { ...own, origin: "null" } }],
      ["/console/events", { headers: { "sec-fetch-site": "cross-site" } }],
      ["/local/tokens", { method: "POST", body: "{}", headers: { origin: "http://evil.example" } }],
    ])) {
      assert.equal((await fetch(url + path, request)).status, 403, `${path} ${JSON.stringify(request)}`);
    }
    assert.equal((await (await fetch(`${url}/console/switches`)).json()).faults, "0%");
  });
});

/**
 * Waits for a condition.
 * @param {() => Promise<boolean>} condition
 * @param {string} what
 */
async function until(condition, what) {
  const end = Date.now() + 20_000;
  while (!(await condition())) {
    assert.ok(Date.now() < end, what);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
