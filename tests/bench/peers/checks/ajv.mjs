// The checks of form.json by ajv: what concerns one row as a JSON Schema, conversions and registers as its keywords, and
// what concerns several rows by hand. `node ajv.mjs ROWS REPETITIONS`.
import { readFileSync } from "node:fs";

import Ajv from "ajv";
import addFormats from "ajv-formats";

const NOW = 1_800_000_000_000;
const POUND = 0.45359237;
const subjects = new Set(Array.from({ length: 500 }, (_, subject) => `S-${String(subject).padStart(4, "0")}`));
const sites = new Set(["S-0001"]);

const ajv = new Ajv({ allErrors: true });
addFormats(ajv, ["date"]);
const row = (keyword, validate) => ajv.addKeyword({ keyword, type: "object", schema: false, errors: false, validate });
row("notDone", (data) => data.VSORRES !== "" || data.VSSTAT !== "");
row("possible", (data) => within(data, 1, 400));
row("usual", (data) => within(data, 30, 200));
row("standard", (data) => !(Math.abs(data.VSSTRESN - kilograms(data)) > 0.01));
const value = (keyword, validate) => ajv.addKeyword({ keyword, type: "string", schema: false, errors: false, validate });
value("notFuture", (date) => Date.parse(date) <= NOW);
value("knownSite", (site) => sites.has(site));
value("knownSubject", (subject) => subjects.has(subject));

const validate = ajv.compile({
  type: "array",
  items: {
    type: "object",
    required: ["SITEID", "USUBJID", "VISITNUM", "VSDTC", "VSTESTCD", "VSSTAT", "VSORRES", "VSORRESU", "VSSTRESN"],
    notDone: true,
    possible: true,
    usual: true,
    standard: true,
    properties: {
      SITEID: { type: "string", knownSite: true },
      USUBJID: { type: "string", knownSubject: true },
      VISITNUM: { type: "integer" },
      VSDTC: { type: "string", format: "date", notFuture: true },
      VSTESTCD: { enum: ["WEIGHT", "HEIGHT"] },
      VSSTAT: { type: "string" },
      VSORRES: { type: "string", minLength: 1, pattern: "^-?[0-9]*([.][0-9]+)?$" },
      VSORRESU: { type: "string", minLength: 1 },
      VSSTRESN: { type: "number" },
      VSSTRESU: { type: "string" },
    },
    if: { properties: { VSTESTCD: { const: "WEIGHT" } } },
    then: { properties: { VSORRESU: { enum: ["kg", "LB", ""] } } },
  },
});
const NAMES = {
  "minLength VSORRES": "result",
  "minLength VSORRESU": "unit",
  "notDone undefined": "not-done",
  "enum VSORRESU": "unit-suits",
  "possible undefined": "possible",
  "usual undefined": "usual",
  "standard undefined": "standard",
  "notFuture VSDTC": "future",
  "knownSite SITEID": "site",
  "knownSubject USUBJID": "subject",
};

function kilograms({ VSORRES, VSORRESU }) {
  const result = VSORRES === "" ? NaN : Number(VSORRES);
  return VSORRESU === "kg" ? result : VSORRESU === "LB" ? result * POUND : NaN;
}

function within(data, least, most) {
  const value = kilograms(data);
  return data.VSTESTCD !== "WEIGHT" || !(value < least || value > most);
}

function check(rows) {
  const findings = [];
  if (!validate(rows)) {
    for (const { keyword, instancePath } of validate.errors) {
      const [, row, field] = instancePath.split("/");
      if (keyword !== "if") findings.push([Number(row), NAMES[`${keyword} ${field}`] ?? `${keyword} ${field}`]);
    }
  }
  const visits = new Map();
  const courses = new Map();
  const add = (map, key, entry) => (map.get(key) ?? map.set(key, []).get(key)).push(entry);
  rows.forEach((row, at) => {
    add(visits, `${row.USUBJID}#${row.VSTESTCD}#${row.VISITNUM}`, at);
    if (row.VSTESTCD === "WEIGHT") {
      add(courses, row.USUBJID, { at, date: Date.parse(row.VSDTC), value: kilograms(row) });
    }
  });
  for (const same of visits.values()) {
    if (same.length > 1) findings.push(...same.map((at) => [at, "one"]));
  }
  for (const course of courses.values()) {
    course.sort((one, other) => one.date - other.date);
    for (let at = 1; at < course.length; at++) {
      const [before, after] = [course[at - 1].value, course[at].value];
      if (Math.abs(after - before) * 100 > 10 * Math.abs(before)) findings.push([course[at].at, "change"]);
    }
  }
  return findings;
}

function cpu() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

const text = readFileSync(process.argv[2], "utf8");
const [readMs, checkMs] = [[], []];
let findings;
for (let time = 0; time < Number(process.argv[3]); time++) {
  const start = cpu();
  const rows = JSON.parse(text);
  const read = cpu();
  findings = check(rows);
  const checked = cpu();
  readMs.push(read - start);
  checkMs.push(checked - read);
}
console.log(JSON.stringify({ readMs, checkMs, findings }));
