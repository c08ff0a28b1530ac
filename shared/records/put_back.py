#!/usr/bin/env python3
"""Takes over from one Records table what another one lacks, after a restore.

    put_back.py SOURCE TARGET                  lists submissions, registrations, audit entries and acknowledgements that
                                               TARGET lacks
    put_back.py SOURCE TARGET --write          stores them in TARGET, submissions not scored: score or sweep does that
    put_back.py SOURCE TARGET --as-is          lists all items that TARGET lacks
    put_back.py SOURCE TARGET --as-is --write  stores them as they are

The first pair is for a TARGET that was restored and has never counted them: scores, alerts, profiles and counts follow
from the submissions, and alerts get the ids that they had, so that receivers recognise them. An acknowledgement needs
its alert, so run it again once the submissions are scored. `--as-is` is for a TARGET that lost items which its counters
still have.

What TARGET has stays as it is, but for a registration of which SOURCE has a later revision, and marks: that of a
correction on its original, and those of an acknowledgement or a snooze on its alert. Run it again after an interruption: what is stored already is not stored again. It holds both tables' items
in memory. Needs boto3, and credentials that may scan SOURCE and write to TARGET; on AWS both are in one account and
region. functions/RESTORE.md says when.
"""
import argparse
import hashlib
import uuid
from datetime import datetime, timezone

import boto3

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("source")
parser.add_argument("target")
parser.add_argument("--write", action="store_true")
parser.add_argument("--as-is", action="store_true")
parser.add_argument("--source-endpoint", help="where SOURCE is, if not in AWS")
parser.add_argument("--target-endpoint", help="where TARGET is, if not in AWS")
options = parser.parse_args()
source = boto3.client("dynamodb", endpoint_url=options.source_endpoint)
target = boto3.client("dynamodb", endpoint_url=options.target_endpoint)


def pending(submission):
    """The list and the shard of a submission that is not scored, by its id, as `List::key_of` computes them."""
    digest = hashlib.sha256(len(submission).to_bytes(8, "big") + submission.encode()).digest()
    return f"PENDING#{int.from_bytes(digest[:4], 'big') % 8}"


def not_scored(item):
    """The item as submit stored it."""
    later = ("score", "scored_at", "amended_by", "pending", "pending_since")
    item = {name: value for name, value in item.items() if name not in later}
    # Since now, so that a table without a stream leaves it to the sweep in three minutes, and no alarm is raised.
    item["pending"] = {"S": pending(item["id"]["S"])}
    item["pending_since"] = {"S": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")}
    return item


def writes(item):
    is_new = not options.as_is and item["kind"]["S"] == "submission"
    new = not_scored(item) if is_new else item
    put = {"TableName": options.target, "Item": new, "ConditionExpression": "attribute_not_exists(pk)"}
    if not is_new or "amends" not in item:
        return [{"Put": put}]
    # A correction marks what it corrects, as submit does, in the same transaction.
    key = {"pk": item["pk"], "sk": {"S": "SUBMISSION#" + item["amends"]["S"]}}
    mark = {"TableName": options.target, "Key": key, "UpdateExpression": "SET amended_by = :by",
            "ConditionExpression": "attribute_exists(pk) AND attribute_not_exists(amended_by)",
            "ExpressionAttributeValues": {":by": item["id"]}}
    return [{"Put": put}, {"Update": mark}]


def is_later(old, new):
    """Whether `old` is a registration that was changed since it was as in `new`."""
    return old["kind"]["S"] == "registration" and int(old["revision"]["N"]) > int(new["revision"]["N"])


def replacement(registration):
    put = {"TableName": options.target, "Item": registration, "ConditionExpression": "revision < :revision",
           "ExpressionAttributeValues": {":revision": registration["revision"]}}
    return [{"Put": put}]


def acknowledgement(old, new):
    """What an acknowledgement of the alert `old` writes to `new`, but its audit entry, which is taken over as it is."""
    names = [name for name in ("acknowledged_by", "acknowledged_at", "note", "later_acknowledgements", "snoozes")
             if name in old]
    alert = {"TableName": options.target, "Key": {"pk": new["pk"], "sk": new["sk"]},
             "UpdateExpression": "SET #status = :acknowledged, " + ", ".join(f"{name} = :{name}" for name in names)
                                 + " REMOVE site_key, site_sort",
             "ConditionExpression": "attribute_exists(pk) AND attribute_not_exists(acknowledged_at)",
             "ExpressionAttributeNames": {"#status": "status"},
             "ExpressionAttributeValues": {":acknowledged": {"S": "ACKNOWLEDGED"}, **{f":{name}": old[name] for name in names}}}
    patient = f"PATIENT#{new['study']['S']}#{new['patient']['S']}"
    profile = {"TableName": options.target, "Key": {"pk": {"S": patient}, "sk": {"S": "PROFILE"}},
               "UpdateExpression": "SET open_alerts = open_alerts - :one, revision = revision + :one DELETE open_marks :mark",
               "ConditionExpression": "open_alerts >= :one",
               "ExpressionAttributeValues": {":one": {"N": "1"}, ":mark": {"BS": [mark(new)]}}}
    return [{"Update": alert}, {"Update": profile}]


def snoozes(old, new):
    """What the snoozes of the alert `old` write to `new`, but their audit entries."""
    alert = {"TableName": options.target, "Key": {"pk": new["pk"], "sk": new["sk"]},
             "UpdateExpression": "SET snoozes = :snoozes",
             "ConditionExpression": "attribute_exists(pk) AND attribute_not_exists(acknowledged_at)",
             "ExpressionAttributeValues": {":snoozes": old["snoozes"]}}
    return [{"Update": alert}]


def mark(alert):
    """The mark of an open alert in its patient's profile."""
    whole, _, fraction = alert["raised_at"]["S"].rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=timezone.utc).timestamp())
    nanoseconds = seconds * 10**9 + int(fraction.ljust(9, "0"))
    return alert["severity"]["S"][0].encode() + nanoseconds.to_bytes(8, "big") + uuid.UUID(alert["alert_id"]["S"]).bytes[-4:]


def snoozes_of(alert):
    return len(alert.get("snoozes", {"L": []})["L"])


def items(client, table):
    wanted = {} if options.as_is else {
        "FilterExpression": "kind IN (:submission, :audit, :alert, :registration, :entry)",
        "ExpressionAttributeValues": {
            ":submission": {"S": "submission"}, ":audit": {"S": "audit"}, ":alert": {"S": "alert"},
            ":registration": {"S": "registration"}, ":entry": {"S": "site-entry"}}}
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True, **wanted)
    return {(item["pk"]["S"], item["sk"]["S"]): item for page in pages for item in page["Items"]}


there, waiting, tasks = items(target, options.target), 0, []
for key, item in items(source, options.source).items():
    if not options.as_is and item["kind"]["S"] == "alert":
        if "acknowledged_at" in item and key not in there:
            waiting += 1
        elif "acknowledged_at" in item and "acknowledged_at" not in there[key]:
            tasks.append(("acknowledgement", item["acknowledged_at"]["S"], item, acknowledgement(item, there[key])))
        elif key in there and snoozes_of(item) > snoozes_of(there[key]) and "acknowledged_at" not in there[key]:
            tasks.append(("snoozes", "", item, snoozes(item, there[key])))
    elif key not in there:
        tasks.append((item["kind"]["S"], item.get("received_at", {"S": ""})["S"], item, writes(item)))
    elif not options.as_is and is_later(item, there[key]):
        tasks.append(("registration", "", item, replacement(item)))
# By time of receipt, so that originals come before their corrections.
for kind, at, item, transaction in sorted(tasks, key=lambda task: task[1]):
    if options.write:
        target.transact_write_items(TransactItems=transaction)
    # A key would name the patient.
    print(kind, *([at] if at else []), *(item[name]["S"] for name in ("id", "alert_id", "audit_id") if name in item))
print(f"{len(tasks)} {'stored' if options.write else 'lacking'}, {waiting} acknowledgements wait for their alerts")
