"""The route POST /v1/submissions of the function submit, as a program of its own.

It validates a token's claims and a body and stores the submission by one conditional put. The call is counted with the
score of its submission, or here if it stored none.
"""

import hashlib
import json
import os
import re
import uuid
from datetime import datetime, timezone
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

LARGEST_BODY = 256 * 1024
FIELDS = {"id", "instrument", "version", "authoredAt", "sentAt", "answers", "device", "amends", "reason"}
TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})")

RECORDS, COUNTS = os.environ["RECORDS_TABLE"], os.environ["COUNTS_TABLE"]
definition = (Path(__file__).parent / "phq-9.json").read_bytes()
phq9 = json.loads(definition)
definition_hash = hashlib.sha256(definition).digest()
codes = {item["id"]: {entry["code"] for entry in phq9["codeLists"][item["codes"]]} for item in phq9["items"]}

db = boto3.client("dynamodb", config=Config(retries={"mode": "standard"}))


def text(value):
    return {"S": value}


# Opens the connection while Lambda gives a whole processor.
try:
    db.get_item(TableName=RECORDS, Key={"pk": text("WARM-UP"), "sk": text("WARM-UP")})
except ClientError:
    pass


def handler(event, context):
    correlation = event["headers"].get("x-correlation-id") or event["requestContext"]["requestId"]
    status, location, body = post(event, context, correlation)
    print(json.dumps({"event": "submission_received", "correlation_id": correlation, "status": status}))
    headers = {
        "content-type": "application/json" if status < 300 else "application/problem+json",
        "x-correlation-id": correlation,
        "cache-control": "no-store",
    }
    if location:
        headers["location"] = location
    return {"statusCode": status, "headers": headers, "body": json.dumps(body, separators=(",", ":"))}


def post(event, context, correlation):
    def refuse(status, kind, errors=()):
        body = {"type": f"urn:epro:problem:{kind}", "title": kind, "status": status, "detail": "see the contract"}
        return status, None, body | {"errors": list(errors), "correlationId": correlation}

    claims = event["requestContext"].get("authorizer", {}).get("jwt", {}).get("claims", {})
    required = claims.get("sub") and claims.get("iss") and claims.get("study")
    if claims.get("token_use") != "access" or not required:
        return refuse(401, "unauthenticated")
    sites = claims.get("sites", "").split()
    allowed = "submissions:write" in claims.get("scope", "").split() and claims.get("role") == "patient"
    if not allowed or not claims.get("patient") or len(sites) != 1:
        return refuse(403, "forbidden")
    if event["headers"].get("content-type", "").split(";")[0].strip() != "application/json":
        return refuse(415, "unsupported-media-type")
    if len(event["body"]) > LARGEST_BODY:
        return refuse(413, "too-large")

    status, location, body = accept(event, claims, sites[0], correlation, refuse)
    # One that is stored, or may be, is counted by the transaction that scores it.
    if status not in (202, 503):
        count_call(claims["study"], sites[0], context.aws_request_id)
    return status, location, body


def accept(event, claims, site, correlation, refuse):
    sent, found = read(event["body"])
    if found:
        return refuse(422, "invalid", found)
    now = datetime.now(timezone.utc)
    received_at = now.isoformat().replace("+00:00", "Z")
    digest = hashlib.sha256(json.dumps(sent, sort_keys=True).encode()).digest()
    item = item_of(sent, claims, site, digest, correlation, now, received_at)

    def receipt(at, of):
        return {
            "id": sent["id"],
            "status": "queued",
            "receivedAt": at,
            "instrument": phq9["id"],
            "version": phq9["version"],
            "correlationId": of,
        }

    location = f"/v1/submissions/{sent['id']}"
    try:
        db.put_item(
            TableName=RECORDS,
            Item=item,
            ConditionExpression="attribute_not_exists(pk)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except db.exceptions.ConditionalCheckFailedException as failed:
        stored = failed.response["Item"]
        if stored["nonce"]["B"] != item["nonce"]["B"]:
            if stored["digest"]["B"] != digest:
                return refuse(409, "submission-conflict")
            return 200, location, receipt(stored["received_at"]["S"], stored["correlation_id"]["S"])
    except ClientError as error:
        print(json.dumps({"event": "submission_not_confirmed", "error": error.response["Error"]["Code"]}))
        return refuse(503, "outcome-unknown")
    return 202, location, receipt(received_at, correlation)


def read(body):
    """Returns the submission in a body, and all that is wrong with it."""
    found = []

    def report(pointer, code):
        found.append({"pointer": pointer, "code": code, "detail": "see the contract"})

    try:
        parsed = json.loads(body)
    except ValueError:
        report("", "json.syntax")
        return None, found
    if not isinstance(parsed, dict):
        report("", "field.type")
        return None, found
    for name in parsed.keys() - FIELDS:
        report(f"/{name}", "field.unknown")
    try:
        identity = str(uuid.UUID(parsed.get("id")))
    except (ValueError, AttributeError, TypeError):
        identity = None
        report("/id", "id.not-a-uuid")
    if parsed.get("instrument") != phq9["id"]:
        report("/instrument", "instrument.unknown")
    elif parsed.get("version") != phq9["version"]:
        report("/version", "instrument.version-unknown")
    if not is_time(parsed.get("authoredAt")):
        report("/authoredAt", "authored-at.format")
    if parsed.get("sentAt") is not None and not is_time(parsed["sentAt"]):
        report("/sentAt", "sent-at.format")
    answers = {}
    if not isinstance(parsed.get("answers"), dict):
        report("/answers", "field.type")
    for name, answer in (parsed.get("answers") or {}).items():
        if name not in codes:
            report(f"/answers/{name}", "item.unknown")
        elif answer is None:
            continue
        elif isinstance(answer, bool) or not isinstance(answer, (int, float)):
            report(f"/answers/{name}", "item.type")
        elif answer not in codes[name]:
            report(f"/answers/{name}", "item.code")
        else:
            answers[name] = int(answer)
    device = parsed.get("device")
    if device is not None and not isinstance(device, dict):
        report("/device", "field.type")
    return {"id": identity, "authoredAt": parsed.get("authoredAt"), "answers": answers, "device": device}, found


def is_time(value):
    if not isinstance(value, str) or not TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def item_of(sent, claims, site, digest, correlation, now, received_at):
    def sortable(at):
        return at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")

    instrument = {"id": text(phq9["id"]), "version": text(phq9["version"]), "hash": {"B": definition_hash}}
    item = {
        "pk": text(f"PATIENT#{claims['study']}#{claims['patient']}"),
        "sk": text(f"SUBMISSION#{sent['id']}"),
        "kind": text("submission"),
        "study": text(claims["study"]),
        "site": text(site),
        "patient": text(claims["patient"]),
        "id": text(sent["id"]),
        "instrument": {"M": instrument},
        "answers": {"M": {name: {"N": str(code)} for name, code in sent["answers"].items()}},
        "authored_at": text(sent["authoredAt"]),
        "effective_at": text(sortable(datetime.fromisoformat(sent["authoredAt"]))),
        "received_at": text(received_at),
        "sub": text(claims["sub"]),
        "iss": text(claims["iss"]),
        "digest": {"B": digest},
        "correlation_id": text(correlation),
        "counts_call": {"BOOL": True},
        "nonce": {"B": uuid.uuid4().bytes},
        "pending": text(f"PENDING#{digest[0] % 8}"),
        "pending_since": text(sortable(now)),
    }
    if sent["device"]:
        parts = {name: text(sent["device"][name]) for name in ("app", "os") if sent["device"].get(name) is not None}
        item["device"] = {"M": parts}
    return item


def count_call(study, site, request):
    token = hashlib.sha256(request.encode()).hexdigest()
    update = {
        "TableName": COUNTS,
        "Key": {"pk": text(f"COUNT#{study}#{site}#api_calls#{ord(token[0]) % 10}")},
        "UpdateExpression": "ADD #n :calls",
        "ExpressionAttributeNames": {"#n": "api_calls"},
        "ExpressionAttributeValues": {":calls": {"N": "1"}},
    }
    try:
        db.transact_write_items(ClientRequestToken=token[:36], TransactItems=[{"Update": update}])
    except ClientError as error:
        print(json.dumps({"event": "api_call_not_counted", "error": error.response["Error"]["Code"]}))
