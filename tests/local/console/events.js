// What happens in the local cloud, as it happens: the server's events, put in order by submission and by invocation.

/** @import { ChangedEvent, FeedEvent, Invocation, PublishedEvent } from "./types.js" */

/** The most entries of each kind that the page keeps. */
const KEPT = 1_000;

/** The most values of a metric that are kept. */
const VALUES = 60;

/** @typedef {{unit: string, function: string, values: {at: number, value: number}[], sum: number, times: number}} Metric */

/** Everything that the page knows. */
export const world = {
  /** Invocations in the order of their start. @type {Map<string, Invocation>} */
  invocations: new Map(),
  /** Changes in the order in which they were read. @type {ChangedEvent[]} */
  changes: [],
  /** @type {PublishedEvent[]} */
  published: [],
  /** By name. @type {Map<string, Metric>} */
  metrics: new Map(),
  /** How late each batch of the stream was delivered. @type {{at: number, ms: number, records: number}[]} */
  lags: [],
  /** Whether the server's events arrive. */
  live: false,
  /** Events that the server dropped before this page read them. */
  skipped: 0,
};

/** @type {Set<(event: FeedEvent | null) => void>} */
const listeners = new Set();

let start = "";

/**
 * Calls `listener` with each event, and with `null` when the connection changes. Returns what ends that.
 * @param {(event: FeedEvent | null) => void} listener
 */
export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Connects, and connects again by itself whenever the connection ends. */
export function connect() {
  const source = new EventSource("/console/events");
  source.addEventListener("start", (message) => {
    const now = JSON.parse(message.data).start;
    // The local cloud was started again: its events begin anew.
    if (start && start !== now) forget();
    start = now;
    world.live = true;
    notify(null);
  });
  source.addEventListener("skipped", (message) => {
    world.skipped += Number(message.data);
  });
  source.addEventListener("message", (message) => {
    const event = /** @type {FeedEvent} */ (JSON.parse(message.data));
    take(event);
    notify(event);
  });
  source.addEventListener("error", () => {
    world.live = false;
    notify(null);
    // After an answer other than events the browser gives up.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2_000);
  });
}

/** @param {FeedEvent | null} event */
function notify(event) {
  for (const listener of listeners) listener(event);
}

function forget() {
  world.invocations.clear();
  world.changes.length = 0;
  world.published.length = 0;
  world.metrics.clear();
  world.lags.length = 0;
  world.skipped = 0;
}

/** @param {FeedEvent} event */
function take(event) {
  switch (event.event) {
    case "started": {
      const { event: _, ...started } = event;
      const startedAt = Date.parse(event.startedAt);
      world.invocations.set(event.requestId, { ...started, startedAt });
      if (typeof event.cause === "object" && "stream" in event.cause) {
        const { records, oldestMs } = event.cause.stream;
        add(world.lags, { at: startedAt, ms: Math.max(0, startedAt - oldestMs), records });
      }
      break;
    }
    case "finished": {
      const { event: _, ...finished } = event;
      const startedAt = Date.parse(event.startedAt);
      const timeoutMs = event.ms + event.remainingMs;
      const known = world.invocations.get(event.requestId) ?? { timeoutMs };
      world.invocations.set(event.requestId, { ...known, ...finished, startedAt });
      break;
    }
    case "changed":
      add(world.changes, event);
      break;
    case "published":
      add(world.published, event);
      break;
    case "metrics":
      for (const { name, unit, value } of event.values) {
        const metric = world.metrics.get(name) ?? { unit, function: event.function, values: [], sum: 0, times: 0 };
        metric.values.push({ at: Date.parse(event.at), value });
        if (metric.values.length > VALUES) metric.values.shift();
        metric.sum += value;
        metric.times += 1;
        metric.function = event.function;
        world.metrics.set(name, metric);
      }
      break;
    case "switched":
      break;
  }
  const oldest = world.invocations.keys().next();
  if (world.invocations.size > KEPT && !oldest.done) world.invocations.delete(oldest.value);
}

/**
 * @template T
 * @param {T[]} list
 * @param {T} entry
 */
function add(list, entry) {
  list.push(entry);
  if (list.length > KEPT) list.shift();
}
