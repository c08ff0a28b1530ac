#!/usr/bin/env python3
"""Takes over from one Records table what another one lacks, after a restore.

    put_back.py SOURCE TARGET                  lists the submissions that TARGET lacks, and changes nothing
    put_back.py SOURCE TARGET --write          stores them in TARGET, not scored, so that score or sweep scores them
    put_back.py SOURCE TARGET --as-is          lists all items that TARGET lacks
    put_back.py SOURCE TARGET --as-is --write  stores them as they are

The first pair is for a TARGET that was restored and has never counted them: scores, alerts, profiles and counts follow
from the submissions, and alerts get the ids that they had, so that receivers recognise them. `--as-is` is for a TARGET
that lost items which its counters still have. Nothing that TARGET has is changed. Needs boto3, and credentials that may
scan SOURCE and write to TARGET; on AWS both are in one account and region. functions/RESTORE.md says when.
"""
import argparse
import hashlib
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


def pending(id):
    """The list and the shard of a submission that is not scored, as `List::key_of` computes them."""
    digest = hashlib.sha256(len(id).to_bytes(8, "big") + id.encode()).digest()
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
    new = item if options.as_is else not_scored(item)
    put = {"TableName": options.target, "Item": new, "ConditionExpression": "attribute_not_exists(pk)"}
    if options.as_is or "amends" not in item:
        return [{"Put": put}]
    # A correction marks what it corrects, as submit does, in the same transaction.
    key = {"pk": item["pk"], "sk": {"S": "SUBMISSION#" + item["amends"]["S"]}}
    mark = {"TableName": options.target, "Key": key, "UpdateExpression": "SET amended_by = :by",
            "ConditionExpression": "attribute_exists(pk) AND attribute_not_exists(amended_by)",
            "ExpressionAttributeValues": {":by": item["id"]}}
    return [{"Put": put}, {"Update": mark}]


def items(client, table):
    wanted = {} if options.as_is else {
        "FilterExpression": "kind = :kind", "ExpressionAttributeValues": {":kind": {"S": "submission"}}}
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True, **wanted)
    return {(item["pk"]["S"], item["sk"]["S"]): item for page in pages for item in page["Items"]}


there = items(target, options.target)
lacking = [item for key, item in items(source, options.source).items() if key not in there]
# By time of receipt, so that originals come before their corrections.
for item in sorted(lacking, key=lambda item: item.get("received_at", {"S": ""})["S"]):
    if options.write:
        target.transact_write_items(TransactItems=writes(item))
    # A key would name the patient.
    print(item["kind"]["S"], *(item[name]["S"] for name in ("received_at", "id", "alert_id") if name in item))
print(f"{len(lacking)} {'stored' if options.write else 'lacking'}, {len(there)} there before")
