// The outbox of a phone: it keeps what a patient completed until the back end has confirmed it, whatever happens to the
// network, to the process and to the back end. ES module for Node 18 or later, without dependencies; on a phone the
// files become the platform's storage, and the rest stays as it is.
//
// functions/INTEGRATION.md explains each rule that this file follows.

import { randomBytes } from "node:crypto";
import { mkdir, open, readFile, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";

/** The most entries, and the most bytes, that a batch may have. */
export const LARGEST_BATCH = 25;
export const LARGEST_BODY = 256 * 1024;
/** The parts of a body that are not entries: `{"submissions":[` and `]}`. */
const FRAME = 18;
/** What a `sentAt` adds to an entry. */
const SENT_AT = '"sentAt":"2026-01-01T00:00:00.000Z",'.length;

/** A UUID of version 7: by time, so that names of files sort as the questionnaires were begun. */
export function uuidV7(now = Date.now()) {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(now, 0, 6);
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** `date` in RFC 3339, in the device's time zone and with its offset: the patient's own morning stays a morning. */
export function localTime(date = new Date()) {
  const minutes = -date.getTimezoneOffset();
  const two = (number) => String(Math.trunc(Math.abs(number))).padStart(2, "0");
  const local = new Date(date.getTime() + minutes * 60_000).toISOString().slice(0, 19);
  return `${local}${minutes < 0 ? "-" : "+"}${two(minutes / 60)}:${two(minutes % 60)}`;
}

/**
 * @typedef {object} Settings
 * @property {string} api the address of the API, without `/v1`
 * @property {string} folder a folder of the app's own; one outbox for each signed-in patient
 * @property {(renew: boolean) => Promise<string>} token an access token; with `renew` a new one, the last was refused
 * @property {(event: object) => void} [report] gets ids and reasons, never an answer
 * @property {number} [timeout] milliseconds for a request; the gateway answers within 30 seconds
 * @property {number} [base] milliseconds of the first pause
 * @property {number} [cap] milliseconds of the longest pause
 * @property {() => Date} [now]
 */

export class Outbox {
  #settings;
  #failures = 0;
  #limit = LARGEST_BATCH;
  #isFresh = false;
  #wake = () => {};

  /** @param {Settings} settings */
  constructor(settings) {
    this.#settings = {
      report: () => {}, timeout: 30_000, base: 1_000, cap: 300_000, now: () => new Date(), ...settings,
    };
  }

  /** Opens the outbox, with what earlier processes left in it. */
  static async open(settings) {
    const outbox = new Outbox(settings);
    for (const part of ["waiting", "sent", "parked"]) {
      await mkdir(outbox.#path(part), { recursive: true, mode: 0o700 });
    }
    return outbox;
  }

  /**
   * Keeps a completed questionnaire. Once this resolves, it survives a crash of the app: show the patient "saved" now,
   * not when it is sent. The id is made when the questionnaire is begun, so that keeping it twice is keeping it once.
   */
  async keep(submission) {
    const { id } = submission;
    if (await this.#has("sent", id) || await this.#has("parked", id)) return id;
    await this.#write("waiting", id, submission);
    this.#isFresh = true;
    // While something fails, only the pause decides: a patient who taps again does not make a phone knock more often.
    if (this.#failures === 0) this.#wake();
    return id;
  }

  /** The ids in a part of the outbox (`waiting`, `sent`, `parked`), oldest first. */
  async ids(part) {
    const names = await readdir(this.#path(part));
    return names.filter((name) => name.endsWith(".json")).map((name) => name.slice(0, -5)).sort();
  }

  /** What is kept of one: a submission that waits, a receipt, or a parked submission with the reason. */
  async read(part, id) {
    return JSON.parse(await readFile(this.#path(part, `${id}.json`), "utf8"));
  }

  /** Sends until `signal` is aborted: at once when something is kept, and after a pause when something failed. */
  async run(signal) {
    signal.addEventListener("abort", () => this.#wake());
    while (!signal.aborted) {
      this.#isFresh = false;
      const pause = await this.pass();
      if (signal.aborted || (pause === null && this.#isFresh)) continue;
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, pause ?? this.#settings.cap);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** Sends what waits, in batches, once. Returns the milliseconds to pause before the next pass; null: nothing waits. */
  async pass() {
    let [failed, retryAfter] = [false, 0];
    const waiting = await this.ids("waiting");
    while (waiting.length > 0) {
      const batch = await this.#batch(waiting);
      const answer = await this.#post(batch);
      if (answer.status === 207) {
        this.#limit = LARGEST_BATCH;
        for (const result of answer.body.results) {
          const settled = await this.#settle(batch[result.index], result);
          failed ||= !settled;
        }
        retryAfter = Math.max(retryAfter, answer.retryAfter);
      } else if ([400, 413, 415, 422].includes(answer.status)) {
        // The batch as a whole is refused. In halves, what is wrong is found alone, and stops nothing else.
        if (batch.length === 1) {
          await this.#settle(batch[0], { status: answer.status, problem: answer.body });
        } else {
          this.#limit = Math.ceil(batch.length / 2);
          waiting.unshift(...batch.map(({ id }) => id));
        }
      } else {
        // Nothing is known of any entry: no network, a time-out, 429, 5xx; or 401 and 403, which pass with the token.
        failed = true;
        retryAfter = answer.retryAfter;
        this.#settings.report({ event: "not-sent", status: answer.status, type: answer.body?.type });
        break;
      }
    }
    if (!failed) {
      this.#failures = 0;
      return null;
    }
    // Full jitter: after an outage thousands of phones must not return in the same second.
    const most = Math.min(this.#settings.cap, this.#settings.base * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 20);
    return retryAfter * 1_000 + Math.random() * most;
  }

  /** Takes the next entries from `waiting`: as many as a batch may have, and as its body has room for. */
  async #batch(waiting) {
    const batch = [];
    let bytes = FRAME;
    while (waiting.length > 0 && batch.length < this.#limit) {
      const submission = await this.read("waiting", waiting[0]);
      bytes += Buffer.byteLength(JSON.stringify(submission)) + SENT_AT + 1;
      if (batch.length > 0 && bytes > LARGEST_BODY) break;
      batch.push(submission);
      waiting.shift();
    }
    return batch;
  }

  /** Sends one batch, a second time where the token was refused. Never throws: without an answer the status is 0. */
  async #post(batch) {
    let answer = { status: 0, retryAfter: 0, body: undefined };
    for (const renew of [false, true]) {
      try {
        const token = await this.#settings.token(renew);
        // The device's clock at the moment of sending, in every attempt anew: the back end sees by it how wrong the
        // clock is. It is not part of what makes a repeat the same.
        const sentAt = this.#settings.now().toISOString();
        const response = await fetch(`${this.#settings.api}/v1/submissions/batch`, {
          method: "POST",
          headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
          body: JSON.stringify({ submissions: batch.map((submission) => ({ ...submission, sentAt })) }),
          signal: AbortSignal.timeout(this.#settings.timeout),
        });
        const retryAfter = Number(response.headers.get("retry-after")) || 0;
        answer = { status: response.status, retryAfter, body: await response.json() };
      } catch {
        return { status: 0, retryAfter: 0, body: undefined };
      }
      if (answer.status !== 401) break;
    }
    return answer;
  }

  /** Files one result, and returns whether the submission is settled. */
  async #settle({ id, amends }, { status, receipt, problem }) {
    const { report } = this.#settings;
    if (status === 200 || status === 202) {
      // The answers leave the phone: the receipt is enough to show that they arrived.
      await this.#move(id, "sent", { receipt });
      report({ event: "sent", id, status, skewSeconds: receipt.clock?.skewSeconds });
      return true;
    }
    const early = problem?.type === "urn:epro:problem:original-missing";
    const orphan = early && await this.#has("parked", amends);
    const withdrawn = problem?.type === "urn:epro:problem:patient-withdrawn";
    if (orphan || withdrawn || (!early && [400, 409, 413, 415, 422].includes(status))) {
      await this.#move(id, "parked", { status, problem, submission: await this.read("waiting", id) });
      report({ event: "parked", id, status, type: problem?.type });
      return true;
    }
    return false;
  }

  /** The new file first, the old one last: a crash between them leaves both, and the submission is sent again. */
  async #move(id, part, content) {
    await this.#write(part, id, content);
    await rm(this.#path("waiting", `${id}.json`));
  }

  /** Writes a file that is either whole or not there, and is on the disk when this resolves. */
  async #write(part, id, content) {
    const temporary = this.#path(part, `${id}.${randomBytes(4).toString("hex")}.tmp`);
    const file = await open(temporary, "w", 0o600);
    await file.writeFile(JSON.stringify(content));
    await file.sync();
    await file.close();
    await rename(temporary, this.#path(part, `${id}.json`));
    const folder = await open(this.#path(part));
    await folder.sync();
    await folder.close();
  }

  async #has(part, id) {
    return (await this.ids(part)).includes(id);
  }

  #path(...parts) {
    return join(this.#settings.folder, ...parts);
  }
}
