/**
 * The shapes that the page's scripts work with. Those of the API are written here by hand; a generated file can take
 * their place, since the scripts import types from here only.
 */

/** Texts by BCP 47 language tag. */
export type Texts = Record<string, string>;

/** An item id, a number, or an object with one operation. */
export type Operation = string | number | { [name: string]: any };

export interface Item {
  id: string;
  type: "code" | "codes" | "integer" | "decimal" | "boolean" | "text";
  preface?: Texts;
  text?: Texts;
  codes?: string;
  min?: number;
  max?: number;
  decimals?: number;
  maxLength?: number;
  enableWhen?: Operation;
  neededWhen?: Operation;
  notNeededFor?: string[];
}

export interface Choice {
  code: number;
  text?: Texts;
  countsAsMissing?: boolean;
  countsAsNotAsked?: boolean;
}

export interface Band {
  id: string;
  from: number;
  to: number;
}

/** `GET /v1/instruments/{id}/{version}`. */
export interface Definition {
  id: string;
  version: string;
  title: Texts;
  instruction?: Texts;
  licence: { terms: string; texts: string; notice?: string };
  codeLists?: Record<string, Choice[]>;
  tables?: Record<string, { when: (number | [number, number] | null)[]; value: number }[]>;
  items: Item[];
  scores: { id: string; title?: Texts; range: [number, number]; bands?: Band[] }[];
}

/** An entry of `GET /v1/instruments`. */
export interface InstrumentSummary {
  id: string;
  version: string;
  title: Texts;
  languages: string[];
  items: number;
}

export type Answer = number | string | boolean | number[];
export type Answers = Record<string, Answer>;

/** The body of `POST /v1/submissions`. */
export interface Submission {
  id: string;
  instrument: string;
  version: string;
  authoredAt: string;
  sentAt?: string;
  answers: Answers;
  device: { app: string; os: string };
}

export interface Score {
  id: string;
  value: number;
  range: [number, number];
  band?: string;
}

export interface Receipt {
  id: string;
  status: "queued" | "scored";
  receivedAt: string;
  instrument: string;
  version: string;
  correlationId: string;
}

/** `GET /v1/submissions/{id}`. */
export interface SubmissionState extends Receipt {
  score?: { scoredAt: string; scores: Score[]; notScored: { id: string; reason: string }[]; alerts: string[] };
}

/** RFC 9457. */
export interface Problem {
  type?: string;
  title?: string;
  status?: number;
  detail?: string;
  message?: string;
  errors?: { pointer: string; code: string; detail: string }[];
}

/** `POST /v1/submissions/batch`. */
export interface BatchResult {
  results: { index: number; id?: string; status: number; receipt?: Receipt; problem?: Problem }[];
}

/** An entry of `GET /v1/sites/{site}/alerts`. */
export interface Alert {
  alertId: string;
  severity: Severity;
  rule: string;
  status: "pending" | "sent" | "acknowledged" | "quiet";
  raisedAt: string;
  sentAt?: string;
  patient: string;
  submissionId: string;
  instrument?: string;
  escalation?: number;
  exhausted?: boolean;
  acknowledged?: { by: string; at: string; note?: string };
  unreadable?: string;
}

export type Severity = "critical" | "warning" | "info";

/** `GET /v1/sites/{site}/counts`. */
export interface Counts {
  counts: {
    site: string;
    apiCalls: number;
    submissions: number;
    alerts: number;
    byInstrument: Record<string, number>;
  }[];
}

/** `GET /v1/sites/{site}/patients`. */
export interface Patients {
  site: { id: string; name?: string };
  patients: { patient: string; openAlerts?: number; lastSubmission?: { id: string; effectiveAt: string } }[];
  next?: string;
}

/* The local cloud's own routes. */

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
  failures: { key: string; lastModified: string; document: any }[];
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
