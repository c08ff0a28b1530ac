// The phone against a back end that misbehaves as the test says, and against the local cloud with faults, a network that
// goes away, and SIGKILL in the middle.
//
//   cargo build --bin local && node --test tests/samples/phone/phone.test.mjs
//
// LOCAL names the local cloud's executable where it is not target/debug/local.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { connect, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

import { LARGEST_BATCH, LARGEST_BODY, Outbox, localTime, uuidV7 } from "./outbox.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const local = process.env.LOCAL ?? join(here, "../../../target/debug/local");
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const children = new Set();
after(() => children.forEach((child) => child.kill("SIGKILL")));

async function folder(t) {
  const path = await mkdtemp(join(tmpdir(), "phone-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

function phq9(codes, id = uuidV7()) {
  const answers = Object.fromEntries(codes.map((code, index) => [String(index + 1), code]));
  return { id, instrument: "phq-9", version: "1.0.0", authoredAt: localTime(), answers };
}

/** An API whose answer to each batch is what `answer(submissions, number, request)` returns: [status, body, headers]. */
async function scripted(t, answer) {
  const requests = [];
  const server = createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks);
      const { submissions } = JSON.parse(body);
      requests.push({ submissions, bytes: body.length, token: request.headers.authorization, at: Date.now() });
      const [status, answered, headers = {}] = answer(submissions, requests.length, request);
      response.writeHead(status, { "content-type": "application/json", ...headers });
      response.end(JSON.stringify(answered));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return { api: `http://127.0.0.1:${server.address().port}`, requests };
}

const accepted = (submissions) => [207, {
  results: submissions.map(({ id }, index) => ({ index, id, status: 202, receipt: { id, status: "queued" } })),
}];
const problem = (type) => ({ type: `urn:epro:problem:${type}`, status: 0, title: type });

async function phone(t, api, more = {}) {
  const settings = { api, folder: await folder(t), token: async () => "t", base: 20, cap: 100, ...more };
  return [await Outbox.open(settings), settings];
}

test("what was kept while offline goes in batches of 25, oldest first, and no body is too large", async (t) => {
  const { api, requests } = await scripted(t, accepted);
  const [outbox] = await phone(t, api);
  const ids = [];
  for (let n = 0; n < 60; n += 1) ids.push(await outbox.keep({ ...phq9([1]), id: uuidV7(1_700_000_000_000 + n) }));
  assert.equal(await outbox.pass(), null);
  assert.deepEqual(requests.map(({ submissions }) => submissions.length), [LARGEST_BATCH, LARGEST_BATCH, 10]);
  assert.deepEqual(requests.flatMap(({ submissions }) => submissions.map(({ id }) => id)), ids);
  assert.deepEqual(await outbox.ids("sent"), ids);
  for (let n = 0; n < 7; n += 1) await outbox.keep({ ...phq9([1]), answers: { text: "é".repeat(30_000) } });
  assert.equal(await outbox.pass(), null);
  const large = requests.slice(3);
  assert.deepEqual(large.map(({ submissions }) => submissions.length), [4, 3]);
  assert.ok(large.every(({ bytes }) => bytes <= LARGEST_BODY), JSON.stringify(large.map(({ bytes }) => bytes)));
});

test("an answer that is lost is asked for again under the same id, with the time of this sending", async (t) => {
  const { api, requests } = await scripted(t, (submissions, number, request) => {
    if (number === 1) request.socket.destroy();
    return accepted(submissions);
  });
  let now = 0;
  const [outbox] = await phone(t, api, { now: () => new Date(now += 60_000) });
  const submission = phq9([1, 2]);
  await outbox.keep(submission);
  assert.ok(await outbox.pass() > 0);
  assert.deepEqual(await outbox.ids("waiting"), [submission.id]);
  assert.equal(await outbox.pass(), null);
  const [first, second] = requests.map(({ submissions: [{ sentAt, ...rest }] }) => [sentAt, rest]);
  assert.deepEqual([first[1], second[1]], [submission, submission]);
  assert.notEqual(first[0], second[0]);
});

test("a pause is at least as long as Retry-After says, and grows at random up to the cap", async (t) => {
  let retryAfter = {};
  const { api } = await scripted(t, () => [503, problem("not-done"), retryAfter]);
  const [outbox] = await phone(t, api, { base: 10, cap: 500 });
  await outbox.keep(phq9([1]));
  const pauses = [];
  for (let n = 0; n < 40; n += 1) pauses.push(await outbox.pass());
  assert.ok(pauses[0] <= 10 && pauses[1] <= 20 && pauses.every((pause) => pause <= 500), String(pauses));
  assert.ok(new Set(pauses.slice(10)).size > 20 && Math.max(...pauses) > 250, String(pauses));
  retryAfter = { "retry-after": "7" };
  assert.ok(await outbox.pass() >= 7_000);
});

test("an expired token is renewed once, and the same batch sent again", async (t) => {
  const { api, requests } = await scripted(t, (submissions, _, { headers }) =>
    headers.authorization === "Bearer new" ? accepted(submissions) : [401, problem("unauthenticated")]);
  let token = "old";
  const [outbox] = await phone(t, api, { token: async (renew) => (token = renew ? "new" : token) });
  const { id } = phq9([1]);
  await outbox.keep({ ...phq9([1]), id });
  assert.equal(await outbox.pass(), null);
  assert.deepEqual(requests.map((request) => request.token), ["Bearer old", "Bearer new"]);
  assert.deepEqual(await outbox.ids("sent"), [id]);
});

test("a refused token loses nothing, and what is not settled stays", async (t) => {
  for (const [status, type] of [[401, "unauthenticated"], [403, "forbidden"], [429, "slow"], [404, "not-found"]]) {
    const { api } = await scripted(t, () => [status, problem(type)]);
    const [outbox] = await phone(t, api);
    const id = await outbox.keep(phq9([1]));
    assert.ok(await outbox.pass() >= 0);
    assert.deepEqual([await outbox.ids("waiting"), await outbox.ids("parked")], [[id], []], type);
  }
});

test("what was completed after a withdrawal is parked", async (t) => {
  const { api } = await scripted(t, (submissions) => [207, {
    results: submissions.map(({ id }, index) => ({ index, id, status: 403, problem: problem("patient-withdrawn") })),
  }]);
  const [outbox] = await phone(t, api);
  const id = await outbox.keep(phq9([1]));
  assert.equal(await outbox.pass(), null);
  assert.deepEqual([await outbox.ids("waiting"), await outbox.ids("parked")], [[], [id]]);
});

test("a conflict and an invalid submission are parked with the reason and delay no other", async (t) => {
  const { api } = await scripted(t, (submissions) => [207, {
    results: submissions.map(({ id }, index) => [
      { index, id, status: 409, problem: problem("submission-conflict") },
      { index, id, status: 422, problem: { ...problem("invalid"), errors: [{ pointer: "/answers/1" }] } },
      { index, id, status: 503, problem: problem("outcome-unknown") },
      { index, id, status: 200, receipt: { id } },
    ][index]),
  }]);
  const [outbox] = await phone(t, api);
  const ids = [];
  for (let n = 0; n < 4; n += 1) ids.push(await outbox.keep({ ...phq9([n]), id: uuidV7(1_700_000_000_000 + n) }));
  assert.ok(await outbox.pass() > 0);
  assert.deepEqual(await outbox.ids("parked"), ids.slice(0, 2));
  assert.deepEqual(await outbox.ids("waiting"), [ids[2]]);
  assert.deepEqual(await outbox.ids("sent"), [ids[3]]);
  const parked = await outbox.read("parked", ids[1]);
  assert.deepEqual([parked.status, parked.problem.errors, parked.submission.id], [422, [{ pointer: "/answers/1" }], ids[1]]);
  assert.deepEqual(Object.keys(await outbox.read("sent", ids[3])), ["receipt"], "answers stay on the phone");
});

test("a correction waits for its original, and is parked where the original is", async (t) => {
  const original = uuidV7(1_700_000_000_000);
  let status = 503;
  const { api } = await scripted(t, (submissions) => [207, {
    results: submissions.map(({ id, amends }, index) => amends
      ? { index, id, status: 409, problem: problem("original-missing") }
      : { index, id, status, problem: problem("x") }),
  }]);
  const [outbox] = await phone(t, api);
  await outbox.keep({ ...phq9([1]), id: original });
  const correction = await outbox.keep({ ...phq9([2]), amends: original, reason: "mistyped" });
  await outbox.pass();
  assert.deepEqual(await outbox.ids("waiting"), [original, correction]);
  status = 422;
  assert.equal(await outbox.pass(), null);
  assert.deepEqual(await outbox.ids("parked"), [original, correction]);
});

test("of a batch that is refused as a whole, the entry at fault is found and parked", async (t) => {
  const bad = uuidV7();
  const { api, requests } = await scripted(t, (submissions) =>
    submissions.some(({ id }) => id === bad) ? [413, problem("too-large")] : accepted(submissions));
  const [outbox] = await phone(t, api);
  await outbox.keep({ ...phq9([1]), id: bad });
  for (let n = 0; n < 10; n += 1) await outbox.keep(phq9([1]));
  assert.equal(await outbox.pass(), null);
  assert.deepEqual(await outbox.ids("parked"), [bad]);
  assert.equal((await outbox.ids("sent")).length, 10);
  assert.ok(requests.length < 10, `${requests.length} requests`);
});

test("what is kept is sent at once, and what an earlier process left is sent first", { timeout: 30_000 }, async (t) => {
  const { api } = await scripted(t, accepted);
  const [before, settings] = await phone(t, api);
  const left = await before.keep(phq9([1]));
  const outbox = await Outbox.open({ ...settings, cap: 60_000 });
  const stop = new AbortController();
  const running = outbox.run(stop.signal);
  while (!(await outbox.ids("sent")).includes(left)) await sleep(5);
  const id = await outbox.keep(phq9([2]));
  while ((await outbox.ids("waiting")).includes(id)) await sleep(5);
  await outbox.keep(phq9([2], id));
  assert.deepEqual(await outbox.ids("waiting"), [], "keeping it again is keeping it once");
  stop.abort();
  await running;
});

/** A network between phones and the cloud: `cut()` drops every connection and refuses new ones until `mend()`. */
async function network(t, port) {
  const sockets = new Set();
  let up = true;
  const server = createTcpServer((phone) => {
    if (!up) return phone.destroy();
    const cloud = connect(port, "127.0.0.1");
    for (const [one, other] of [[phone, cloud], [cloud, phone]]) {
      sockets.add(one);
      one.pipe(other);
      one.on("error", () => other.destroy());
      one.on("close", () => (sockets.delete(one), other.destroy()));
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => (sockets.forEach((socket) => socket.destroy()), server.close()));
  const cut = () => ((up = false), sockets.forEach((socket) => socket.destroy()));
  return { address: `http://127.0.0.1:${server.address().port}`, cut, mend: () => (up = true) };
}

async function startCloud() {
  const options = ["--memory", "--port", "0", "--quiet", "--faults", "30%", "--fault-seed", "1"];
  const cloud = spawn(local, options, { stdio: ["ignore", "pipe", "inherit"] });
  children.add(cloud);
  const [line] = await once(createInterface({ input: cloud.stdout }), "line");
  return { cloud, address: line.replace("ready ", "") };
}

/** A phone in a process of its own, which is killed and started again. */
class Process {
  kept = new Set();
  #events = [];
  constructor(...options) {
    this.options = options;
  }
  start() {
    this.child = spawn(process.execPath, [join(here, "phone.mjs"), ...this.options], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    children.add(this.child);
    this.child.stdin.on("error", () => {});
    createInterface({ input: this.child.stdout }).on("line", (line) => {
      const event = JSON.parse(line);
      this.#events.push(event);
      if (event.event === "kept") this.kept.add(event.id);
    });
  }
  async kill() {
    const ended = once(this.child, "exit");
    this.child.kill("SIGKILL");
    await ended;
    children.delete(this.child);
  }
  enter(submission) {
    this.child.stdin.write(`${JSON.stringify(submission)}\n`);
  }
  /** Ends the input, and returns its events once nothing waits any more. */
  async finish() {
    this.child.stdin.end();
    const [code] = await once(this.child, "exit");
    assert.equal(code, 0);
    return this.#events;
  }
}

/** All items of the table, past the functions. */
async function items(address) {
  const store = await (await fetch(`${address}/local/store`)).json();
  const found = [];
  let from;
  do {
    const response = await fetch(store.dynamodb, {
      method: "POST",
      headers: {
        "content-type": "application/x-amz-json-1.0",
        "x-amz-target": "DynamoDB_20120810.Scan",
        "x-amz-date": "20260101T000000Z",
        authorization: `AWS4-HMAC-SHA256 Credential=local/20260101/${store.region}/dynamodb/aws4_request, ` +
          "SignedHeaders=host, Signature=0",
      },
      body: JSON.stringify({ TableName: store.recordsTable, ConsistentRead: true, ExclusiveStartKey: from }),
    });
    const page = await response.json();
    assert.equal(response.status, 200, JSON.stringify(page));
    found.push(...page.Items);
    from = page.LastEvaluatedKey;
  } while (from);
  return found;
}

test("through faults, an absent network and SIGKILL nothing is lost and nothing is twice", { timeout: 480_000 }, async (t) => {
  const { cloud, address } = await startCloud();
  t.after(() => cloud.kill("SIGINT"));
  const net = await network(t, new URL(address).port);
  const patients = ["P-1", "P-2", "P-3"];
  const entered = new Map();
  const phones = [];
  for (const [number, patient] of patients.entries()) {
    const options = { api: net.address, folder: await folder(t), patient, base: "50", cap: "1000", "token-seconds": "2" };
    const phone = new Process(...Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]));
    phone.start();
    phones.push(phone);
    for (let n = 0; n < 40; n += 1) {
      const codes = Array.from({ length: 9 }, (_, item) => (n + item * (number + 1)) % 4);
      const submission = phq9(codes);
      entered.set(submission.id, { patient, phone, codes, submission });
    }
  }
  // The patients fill in forms all the while; whatever was not shown as saved is entered again, as the same form.
  let round = 0;
  while (phones.some(({ kept }) => kept.size < 40)) {
    round += 1;
    for (const phone of phones) {
      const missing = [...entered].filter(([id, one]) => one.phone === phone && !phone.kept.has(id));
      for (const [, { submission }] of missing.slice(0, 8)) phone.enter(submission);
    }
    await sleep(150);
    if (round % 3 === 1) net.cut();
    if (round % 3 === 0) net.mend();
    // In the middle of writing, sending, or moving.
    await sleep(Math.random() * 200);
    for (const phone of phones) {
      if (Math.random() < 0.3) {
        await phone.kill();
        phone.start();
      }
    }
  }
  net.mend();
  // One more form with an answer that the questionnaire does not have, and one whose id is stored with another body.
  const invalid = { ...phq9([9]), id: uuidV7() };
  phones[0].enter(invalid);
  const events = (await Promise.all(phones.map((phone) => phone.finish()))).flat();
  const done = events.filter(({ event }) => event === "done");
  assert.deepEqual(done.map(({ sent, parked }) => [sent, parked]), [[40, 1], [40, 0], [40, 0]]);
  assert.ok(events.some(({ event, id, status }) => event === "parked" && id === invalid.id && status === 422));

  // An empty outbox, as after the app was installed again, and an id that is stored with another body.
  const again = new Process("--api", net.address, "--folder", await folder(t), "--patient", patients[0], "--cap", "1000");
  again.start();
  const [taken, repeat] = entered.keys();
  again.enter(phq9([3, 3], taken));
  again.enter(entered.get(repeat).submission);
  const repeated = await again.finish();
  assert.ok(repeated.some(({ event, status }) => event === "parked" && status === 409), JSON.stringify(repeated));
  assert.ok(repeated.some(({ event, status }) => event === "sent" && status === 200), JSON.stringify(repeated));

  const unscored = async () => (await items(address)).filter((item) => item.kind.S === "submission" && !item.score);
  for (let left = await unscored(); left.length > 0; left = await unscored()) await sleep(1_000);
  const all = await items(address);
  const stored = all.filter((item) => item.kind.S === "submission");
  const compared = (id, patient, codes) => ({ id, patient, codes: codes.map(String) });
  const byId = (a, b) => (a.id < b.id ? -1 : 1);
  const codes = (item) => Array.from({ length: 9 }, (_, n) => item.answers.M[String(n + 1)].N);
  assert.deepEqual(
    stored.map((item) => compared(item.id.S, item.patient.S, codes(item))).sort(byId),
    [...entered].map(([id, one]) => compared(id, one.patient, one.codes)).sort(byId),
  );
  const total = (item) => item.score.M.scores.L.find(({ M }) => M.id.S === "total").M.value.N;
  for (const item of stored) assert.equal(Number(total(item)), entered.get(item.id.S).codes.reduce((a, b) => a + b));
  // One alert for each answer above 0 to item 9, and no other of that rule.
  const alerts = all.filter((item) => item.kind.S === "alert" && item.rule.S === "safety").map((item) => item.submission.S);
  const unsafe = [...entered].filter(([, one]) => one.codes[8] > 0).map(([id]) => id);
  assert.deepEqual(alerts.sort(), unsafe.sort());
  const faults = await (await fetch(`${address}/local/faults`)).json();
  const met = Object.values(faults.dynamodb.faults).reduce((a, b) => a + b, 0);
  t.diagnostic(`${stored.length} stored, ${round} rounds, ${met} faults in ${faults.dynamodb.requests} requests`);
  assert.ok(met > 100);
});
