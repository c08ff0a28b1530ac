// A phone at the command line: keeps each questionnaire that it reads from standard input, one JSON object a line, and
// sends what it kept. Ends when the input has ended and nothing waits any more.
//
//   node phone.mjs --api http://127.0.0.1:3000 --folder outbox --study EPRO-DEMO --site S01 --patient P-001

import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { Outbox, localTime, uuidV7 } from "./outbox.mjs";

const text = { type: "string" };
const { values: options } = parseArgs({
  options: {
    api: { ...text, default: "http://127.0.0.1:3000" },
    folder: { ...text, default: "outbox" },
    study: { ...text, default: "EPRO-DEMO" },
    site: { ...text, default: "S01" },
    patient: { ...text, default: "P-001" },
    // For tests: how long tokens live, and how soon is tried again.
    "token-seconds": { ...text, default: "3600" },
    base: { ...text, default: "1000" },
    cap: { ...text, default: "300000" },
  },
});

// The local issuer signs any claims. A real app signs the patient in and uses its refresh token here.
let token;
async function accessToken(renew) {
  if (!token || renew) {
    const claims = {
      role: "patient", study: options.study, sites: options.site, patient: options.patient,
      expiresIn: Number(options["token-seconds"]),
    };
    const signal = AbortSignal.timeout(10_000);
    const response = await fetch(`${options.api}/local/tokens`, { method: "POST", body: JSON.stringify(claims), signal });
    if (!response.ok) throw new Error(`the issuer answers ${response.status}`);
    token = (await response.json()).accessToken;
  }
  return token;
}

const outbox = await Outbox.open({
  api: options.api,
  folder: options.folder,
  token: accessToken,
  base: Number(options.base),
  cap: Number(options.cap),
  report: (event) => console.log(JSON.stringify(event)),
});
const stop = new AbortController();
const sending = outbox.run(stop.signal);
for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() === "") continue;
  const id = await outbox.keep({ id: uuidV7(), authoredAt: localTime(), ...JSON.parse(line) });
  console.log(JSON.stringify({ event: "kept", id }));
}
while ((await outbox.ids("waiting")).length > 0) await new Promise((resolve) => setTimeout(resolve, 50));
stop.abort();
await sending;
const count = async (part) => (await outbox.ids(part)).length;
console.log(JSON.stringify({ event: "done", sent: await count("sent"), parked: await count("parked") }));
