// A client that is written against the types of the contract. It is compiled and never run.

import type { components, paths } from "./api";

type Submission = components["schemas"]["Submission"];
type Problem = components["schemas"]["Problem"];
type Sent = paths["/v1/submissions"]["post"]["responses"];
type Conflict = Sent[409]["content"]["application/problem+json"];

const submission: Submission = {
  id: "0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e",
  instrument: "phq-9",
  version: "1.0.0",
  authoredAt: "2026-11-20T07:58:03+08:00",
  answers: { "1": 1, "2": true, "3": "text", "4": [1, 2], "5": null },
};

export const batch: components["schemas"]["Batch"] = { submissions: [submission] };

export function locationOf(answer: Sent[202]): string {
  const receipt: components["schemas"]["Receipt"] = answer.content["application/json"];
  return `${answer.headers.Location} ${receipt.receivedAt}`;
}

/** Whether the app should send the original first. */
export function originalIsMissing(problem: Conflict): boolean {
  return problem.type === "urn:epro:problem:original-missing";
}

export function openAlerts(page: components["schemas"]["Alerts"]): string[] {
  return page.alerts.flatMap((alert) => ("alertId" in alert ? [alert.alertId] : []));
}

export function lowest(score: components["schemas"]["Score"]): number {
  return score.range[0];
}

/** Of a batch, the entries that the app may forget. */
export function stored(batch: components["schemas"]["BatchResults"]): number[] {
  return batch.results.flatMap((entry) => ("receipt" in entry ? [entry.index] : []));
}

export const condition: components["schemas"]["Operation"] = { atLeast: ["1", { sum: ["2", 3] }] };

export const site: paths["/v1/sites/{site}/alerts"]["get"]["parameters"] = {
  path: { site: "S01" },
  query: { status: "open", limit: 10 },
};

// @ts-expect-error A submission has answers.
export const withoutAnswers: Submission = { id: "", instrument: "", version: "", authoredAt: "" };
// @ts-expect-error There is no such status.
export const unknownStatus: components["schemas"]["AlertStatus"] = "closed";
// @ts-expect-error A problem names its kind.
export const withoutType: Problem = { title: "", status: 422, detail: "", correlationId: "" };
// @ts-expect-error Two operations are compared.
export const withoutSecond: components["schemas"]["Operation"] = { atLeast: ["1"] };
// @ts-expect-error There is no such operation.
export const unknownOperation: components["schemas"]["Operation"] = { median: ["1", "2"] };
// @ts-expect-error There is no such route.
export type Unknown = paths["/v1/unknown"];
