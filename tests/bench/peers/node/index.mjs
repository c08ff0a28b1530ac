// The route POST /v1/submissions of the function submit, as a program of its own: it validates a token's claims and a
// body and stores the submission by one conditional put. The call is counted with the score of its submission, or here
// if it stored none.
import { createHash, randomBytes } from "node:crypto";

import {
  ConditionalCheckFailedException,
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  TransactWriteItemsCommand,
} from "@aws-sdk/client-dynamodb";

import phq9 from "./phq-9.json";

const LARGEST_BODY = 256 * 1024;
const FIELDS = ["id", "instrument", "version", "authoredAt", "sentAt", "answers", "device", "amends", "reason"];
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/;

const db = new DynamoDBClient({});
const { RECORDS_TABLE, COUNTS_TABLE } = process.env;
const hash = sha256(JSON.stringify(phq9));
const codes = new Map(phq9.items.map((item) => [item.id, phq9.codeLists[item.codes].map(({ code }) => code)]));

// Opens the connection while Lambda gives a whole processor.
await db
  .send(new GetItemCommand({ TableName: RECORDS_TABLE, Key: { pk: text("WARM-UP"), sk: text("WARM-UP") } }))
  .catch(() => {});

export async function handler(event, context) {
  const correlation = event.headers["x-correlation-id"] ?? event.requestContext.requestId;
  const { status, location, body } = await post(event, context, correlation);
  console.log(JSON.stringify({ event: "submission_received", correlation_id: correlation, status }));
  const headers = {
    "content-type": status < 300 ? "application/json" : "application/problem+json",
    "x-correlation-id": correlation,
    "cache-control": "no-store",
  };
  if (location) headers.location = location;
  return { statusCode: status, headers, body: JSON.stringify(body) };
}

async function post(event, context, correlationId) {
  const refuse = (status, kind, errors) => ({
    status,
    body: { type: `urn:epro:problem:${kind}`, title: kind, status, detail: "see the contract", errors, correlationId },
  });
  const claims = event.requestContext.authorizer?.jwt?.claims;
  if (claims?.token_use !== "access" || !claims.sub || !claims.iss || !claims.study) {
    return refuse(401, "unauthenticated");
  }
  const sites = words(claims.sites);
  const allowed = words(claims.scope).includes("submissions:write") && claims.role === "patient" && claims.patient;
  if (!allowed || sites.length !== 1) return refuse(403, "forbidden");
  if (event.headers["content-type"]?.split(";")[0].trim() !== "application/json") {
    return refuse(415, "unsupported-media-type");
  }
  if (event.body.length > LARGEST_BODY) return refuse(413, "too-large");

  const answer = await accept(event, claims, sites[0], correlationId, refuse);
  // One that is stored, or may be, is counted by the transaction that scores it.
  if (answer.status !== 202 && answer.status !== 503) await countCall(claims.study, sites[0], context.awsRequestId);
  return answer;
}

async function accept(event, claims, site, correlationId, refuse) {
  const { sent, found } = read(event.body);
  if (found.length > 0) return refuse(422, "invalid", found);
  const receivedAt = new Date().toISOString();
  const digest = sha256(JSON.stringify([sent.id, sent.authoredAt, sent.answers, sent.device]));
  const item = itemOf(sent, claims, site, digest, correlationId, receivedAt);
  const location = `/v1/submissions/${sent.id}`;
  const receipt = (at, correlation) => ({
    id: sent.id,
    status: "queued",
    receivedAt: at,
    instrument: phq9.id,
    version: phq9.version,
    correlationId: correlation,
  });
  try {
    await db.send(
      new PutItemCommand({
        TableName: RECORDS_TABLE,
        Item: item,
        ConditionExpression: "attribute_not_exists(pk)",
        ReturnValuesOnConditionCheckFailure: "ALL_OLD",
      }),
    );
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException) || !error.Item) {
      console.error(JSON.stringify({ event: "submission_not_confirmed", error: error.name }));
      return refuse(503, "outcome-unknown");
    }
    const stored = error.Item;
    if (!item.nonce.B.equals(stored.nonce.B)) {
      if (!digest.equals(stored.digest.B)) return refuse(409, "submission-conflict");
      return { status: 200, location, body: receipt(stored.received_at.S, stored.correlation_id.S) };
    }
  }
  return { status: 202, location, body: receipt(receivedAt, correlationId) };
}

/** The submission in a body, and all that is wrong with it. */
function read(body) {
  const found = [];
  const report = (pointer, code) => found.push({ pointer, code, detail: "see the contract" });
  let object;
  try {
    object = JSON.parse(body);
  } catch {
    report("", "json.syntax");
    return { found };
  }
  if (object === null || typeof object !== "object" || Array.isArray(object)) {
    report("", "field.type");
    return { found };
  }
  for (const name of Object.keys(object)) if (!FIELDS.includes(name)) report(`/${name}`, "field.unknown");
  if (typeof object.id !== "string" || !UUID.test(object.id)) report("/id", "id.not-a-uuid");
  if (object.instrument !== phq9.id) report("/instrument", "instrument.unknown");
  else if (object.version !== phq9.version) report("/version", "instrument.version-unknown");
  const isTime = (at) => typeof at === "string" && TIME.test(at) && !Number.isNaN(Date.parse(at));
  if (!isTime(object.authoredAt)) report("/authoredAt", "authored-at.format");
  if (object.sentAt != null && !isTime(object.sentAt)) report("/sentAt", "sent-at.format");
  const answers = {};
  if (object.answers === null || typeof object.answers !== "object") report("/answers", "field.type");
  for (const [id, answer] of Object.entries(object.answers ?? {})) {
    if (!codes.has(id)) report(`/answers/${id}`, "item.unknown");
    else if (answer === null) continue;
    else if (typeof answer !== "number") report(`/answers/${id}`, "item.type");
    else if (!codes.get(id).includes(answer)) report(`/answers/${id}`, "item.code");
    else answers[id] = answer;
  }
  const device = object.device ?? null;
  if (device !== null && typeof device !== "object") report("/device", "field.type");
  return { sent: { id: object.id?.toLowerCase?.(), authoredAt: object.authoredAt, answers, device }, found };
}

function itemOf(sent, claims, site, digest, correlation, receivedAt) {
  const sortable = (at) => at.replace(/(\.\d+)?Z$/, (_, part) => `${(part ?? ".").padEnd(10, "0")}Z`);
  const item = {
    pk: text(`PATIENT#${claims.study}#${claims.patient}`),
    sk: text(`SUBMISSION#${sent.id}`),
    kind: text("submission"),
    study: text(claims.study),
    site: text(site),
    patient: text(claims.patient),
    id: text(sent.id),
    instrument: { M: { id: text(phq9.id), version: text(phq9.version), hash: { B: hash } } },
    answers: { M: Object.fromEntries(Object.entries(sent.answers).map(([id, code]) => [id, { N: String(code) }])) },
    authored_at: text(sent.authoredAt),
    effective_at: text(sortable(new Date(sent.authoredAt).toISOString())),
    received_at: text(receivedAt),
    sub: text(claims.sub),
    iss: text(claims.iss),
    digest: { B: digest },
    correlation_id: text(correlation),
    counts_call: { BOOL: true },
    nonce: { B: randomBytes(16) },
    pending: text(`PENDING#${digest[0] % 8}`),
    pending_since: text(sortable(receivedAt)),
  };
  if (sent.device) {
    const parts = ["app", "os"].filter((name) => sent.device[name] != null);
    item.device = { M: Object.fromEntries(parts.map((name) => [name, text(sent.device[name])])) };
  }
  return item;
}

async function countCall(study, site, request) {
  const token = sha256(request);
  const shard = token[0] % 10;
  const update = {
    TableName: COUNTS_TABLE,
    Key: { pk: text(`COUNT#${study}#${site}#api_calls#${shard}`) },
    UpdateExpression: "ADD #n :calls",
    ExpressionAttributeNames: { "#n": "api_calls" },
    ExpressionAttributeValues: { ":calls": { N: "1" } },
  };
  const command = new TransactWriteItemsCommand({
    ClientRequestToken: token.toString("hex").slice(0, 36),
    TransactItems: [{ Update: update }],
  });
  await db.send(command).catch((error) => {
    console.warn(JSON.stringify({ event: "api_call_not_counted", error: error.name }));
  });
}

function text(value) {
  return { S: value };
}

function words(list) {
  return (list ?? "").split(" ").filter((word) => word !== "");
}

function sha256(value) {
  return createHash("sha256").update(value).digest();
}
