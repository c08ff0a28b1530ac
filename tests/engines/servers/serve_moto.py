"""Serves moto's DynamoDB, with its streams, on a free port of the loopback address.

Prints `ready PORT` and ends with the standard input, so that it never outlives the program that started it. With a
folder as its argument it also records there what its clients send, each kind of request once.
"""

import copy
import io
import json
import os
import sys
import threading
from collections import defaultdict
from pathlib import Path

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.table import StreamShard, Table
from moto.dynamodbstreams.models import ShardIterator
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from recording import kind
from werkzeug.serving import make_server


class Handler(MotoRequestHandler):
    """Keeps connections open, as DynamoDB does, and logs no request."""

    protocol_version = "HTTP/1.1"

    def log_request(self, *_):
        pass


class OneAtATime:
    """Passes requests on one at a time.

    moto checks a condition and writes in two steps with no lock around them, and a transaction that it cancels puts a
    copy of the whole table back, with which it also undoes what others wrote in the meantime. DynamoDB serializes both.
    """

    def __init__(self, app, records):
        self.app = app
        self.records = records
        self.known = set()
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        with self.lock:
            if self.records:
                self.record(environ.get("HTTP_X_AMZ_TARGET", ""), body)
            return list(self.app(environ, start_response))

    def record(self, target, body):
        service, _, operation = target.rpartition(".")
        request = {"service": service, "operation": operation, "body": json.loads(body or b"{}")}
        of = kind(request)
        if of not in self.known:
            self.known.add(of)
            self.records.write(json.dumps(request) + "\n")
            self.records.flush()


def get_from_current_shard(self, limit=1000, get=ShardIterator.get):
    """As moto's own, from the shard that the table has now: a cancelled transaction puts copies of both in their
    places, and an iterator that was made before reads the old shard, in which nothing appears any more."""
    table = self.streams_backend.dynamodb.get_table(self.stream_shard.table.name)
    self.stream_shard = table.stream_shard
    return get(self, limit)


# The partitions that the transaction of the moment writes to, by table and hash key; None for all.
written = None


def transact_write_items(self, transact_items, transact=DynamoDBBackend.transact_write_items):
    """As moto's own, which copies each table before, to put it back if the transaction is cancelled. With thousands of
    items a transaction would take seconds: only what it writes to is copied."""
    global written
    written = set()
    for write in transact_items:
        for of_write in write.values():
            table = self.tables.get(of_write.get("TableName"))
            if table:
                key = of_write.get("Key") or of_write.get("Item")
                written.add((table.name, json.dumps(key.get(table.hash_key_attr))))
    try:
        return transact(self, transact_items)
    finally:
        written = None


def copy_of_table(self, memo):
    table = copy.copy(self)
    memo[id(self)] = table
    table.items = defaultdict(dict)
    for hash_key, partition in self.items.items():
        if written is None or (self.name, json.dumps(hash_key.to_json())) in written:
            table.items[hash_key] = copy.deepcopy(partition, memo)
        else:
            table.items[hash_key] = partition
    table.stream_shard = copy.deepcopy(self.stream_shard, memo)
    return table


def copy_of_shard(self, memo):
    """Nothing changes the records that a shard has."""
    shard = copy.copy(self)
    memo[id(self)] = shard
    shard.items = list(self.items)
    shard.table = copy.deepcopy(self.table, memo)
    return shard


def main():
    ShardIterator.get = get_from_current_shard
    DynamoDBBackend.transact_write_items = transact_write_items
    Table.__deepcopy__ = copy_of_table
    StreamShard.__deepcopy__ = copy_of_shard
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    records = open(folder / f"moto-{os.getpid()}.jsonl", "w", encoding="utf-8") if folder else None
    app = OneAtATime(DomainDispatcherApplication(create_backend_app), records)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"ready {server.server_port}", flush=True)
    sys.stdin.read()
    os._exit(0)


main()
