/**
 * The shapes that the page's scripts work with. Those of the API are the contract's (functions/openapi.yaml):
 * `tests/console/run types` makes the module "contract" from it, and checks the scripts against it.
 */

import type { components, paths } from "contract";

type Schemas = components["schemas"];

export type Texts = Schemas["Texts"];
export type Severity = Schemas["Severity"];
export type Definition = Schemas["Instrument"];
export type InstrumentSummary = Schemas["InstrumentSummary"];
export type Item = Schemas["Item"];
export type Choice = Schemas["Choice"];
export type TableRow = Schemas["TableRow"];
export type Operation = Schemas["Operation"];
export type NumberPair = Schemas["NumberPair"];
export type Submission = Schemas["Submission"];
export type Receipt = Schemas["Receipt"];
export type ScoreResult = Schemas["ScoreResult"];
export type Score = Schemas["Score"];
export type Alert = Schemas["Alert"];
export type Alerts = Schemas["Alerts"];
export type UnreadableAlert = Schemas["UnreadableAlert"];
export type Acknowledgement = Schemas["Acknowledgement"];
export type Counts = Schemas["Counts"];
export type Patient = Schemas["Patient"];
export type Patients = Schemas["Patients"];
export type Problem = Schemas["Problem"];
export type GatewayMessage = Schemas["GatewayMessage"];

/** What an item is answered with, where it is answered. */
export type Answer = NonNullable<Schemas["Answers"][string]>;

/** The answers that the visitor has given, by item. */
export type Answers = Record<string, Answer>;

/** The operations of the contract by method and path, `GET /v1/instruments`. */
export type Operations = {
  [Path in keyof paths as paths[Path] extends { get: object } ? `GET ${Path}` : never]: paths[Path] extends {
    get: infer Found;
  }
    ? Found
    : never;
} & {
  [Path in keyof paths as paths[Path] extends { post: object } ? `POST ${Path}` : never]: paths[Path] extends {
    post: infer Found;
  }
    ? Found
    : never;
};

export type Route = keyof Operations;

/** A parameter that the operation does not have cannot be given, and one that it requires must be. */
export type Request<R extends Route> = Pick<Operations[R]["parameters"], "path" | "query"> &
  (Operations[R] extends { requestBody?: never }
    ? { body?: never }
    : Operations[R] extends { requestBody: { content: { "application/json": infer Body } } }
      ? { body: Body }
      : Operations[R] extends { requestBody?: { content: { "application/json": infer Body } } }
        ? { body?: Body }
        : never);

type Accepted = 200 | 202 | 207;

/** The body of a successful answer. */
export type AnswerTo<R extends Route> = {
  [Status in keyof Operations[R]["responses"] & Accepted]: Operations[R]["responses"][Status] extends {
    content: { "application/json": infer Body };
  }
    ? Body
    : never;
}[keyof Operations[R]["responses"] & Accepted];

/* The local cloud's own routes. */

/** Why one of these routes does not do what it was asked. */
export interface LocalProblem {
  title: string;
  status: number;
  detail: string;
}

/** `GET /console/study`. */
export interface Study {
  id: string;
  title: Texts;
  sites: { id: string; name: string; timeZone: string }[];
  alerts?: { escalation?: { afterMinutes: number; limit: number } };
}

/** `GET /console/courses`. */
export interface SiteCourses {
  patients: { patient: string; courses: Course[] }[];
  more: number;
}

export interface Course {
  instrument: string;
  version: string;
  points: { at: string; submission: string; scores: Score[] }[];
}

/** `GET /local/inbox`. */
export interface Inbox {
  messages: {
    messageId: string;
    publishedAt: string;
    subject?: string;
    body: { alertId?: string; escalation?: number; severity?: Severity; rule?: string; submissionId?: string };
  }[];
}

/** `GET /local/failures`. */
export interface Failures {
  failures: { key: string; lastModified: string; document: { requestContext?: { condition?: string } } }[];
}

/** `POST /local/schedules/sweep`. */
export interface SweepRun {
  invocations: { answer?: { escalated?: number; exhausted?: number } }[];
}

/** `GET` and `POST /console/switches`. */
export interface Switches {
  faults: string;
  snsDelayMs: number;
}

/** `GET /local/faults`. */
export interface FaultCounts {
  share: string;
  dynamodb?: { requests: number; faults: Record<string, number> };
  sns?: { requests: number; faults: Record<string, number> };
}

/** `POST /console/verification`. */
export interface Verification {
  at: string;
  ms: number;
  patients: number;
  submissions: number;
  alerts: number;
  sites: number;
  waiting: number;
  quarantined: number;
  differences: number;
  byKind: Record<string, number>;
  listed: string[];
}

export type Cause =
  | "schedule"
  | "other"
  | { request: { route: string; correlationId: string | null } }
  | { stream: { records: number; submissions: string[]; oldestMs: number } };

export type Outcome = "answered" | "failed" | "timedOut" | "crashed" | "refused";

/** An event of `GET /console/events`. */
export type FeedEvent =
  | {
      event: "started";
      function: string;
      requestId: string;
      startedAt: string;
      timeoutMs: number;
      cold: boolean;
      cause: Cause;
    }
  | {
      event: "finished";
      function: string;
      requestId: string;
      startedAt: string;
      ms: number;
      remainingMs: number;
      outcome: Outcome;
      cold: boolean;
      cause: Cause;
      detail?: string;
    }
  | { event: "changed"; what: string; submissionId: string | null; alertId?: string; at: string; readAt: string }
  | {
      event: "published";
      at: string;
      alertId: string | null;
      submissionId: string | null;
      severity: Severity | null;
      escalation: number | null;
    }
  | {
      event: "metrics";
      function: string;
      at: string;
      dimensions: Record<string, string>;
      values: { name: string; unit: string; value: number }[];
    }
  | { event: "switched"; at: string; faults: string; snsDelayMs: number };

export type ChangedEvent = Extract<FeedEvent, { event: "changed" }>;
export type PublishedEvent = Extract<FeedEvent, { event: "published" }>;

/** An invocation that started, and how it ended if it did. */
export interface Invocation {
  function: string;
  requestId: string;
  startedAt: number;
  timeoutMs: number;
  cold: boolean;
  cause: Cause;
  ms?: number;
  remainingMs?: number;
  outcome?: Outcome;
  detail?: string;
}

/* The page itself. */

/** Who the visitor is, in each role. */
export interface Identity {
  study: string;
  site: string;
  patient: string;
}

/** A submission that waits on the phone. */
export interface Kept {
  identity: Identity;
  submission: Submission;
}

/** A view of the page. */
export interface View {
  /** Puts the view into `place`. */
  show(place: HTMLElement): void;
  /** Called when it is left. */
  leave?(): void;
}
