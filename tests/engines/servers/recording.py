"""The kind of a request: all of it except the contents of attribute values, and of tokens and iterators, of which the
lengths count. Each kind is recorded once; `tests/harness/src/recording.rs` goes by the same rule."""

import json

VALUES = {"S", "N"}
TOKENS = {"ClientRequestToken", "ShardIterator", "SequenceNumber"}


def kind(request):
    return json.dumps([request["service"], request["operation"], without_contents(request["body"])], sort_keys=True)


def without_contents(value):
    if isinstance(value, list):
        return [without_contents(one) for one in value]
    if isinstance(value, dict):
        return {name: content(name, one) for name, one in value.items()}
    return value


def content(name, value):
    if isinstance(value, str) and name in VALUES:
        return ""
    if isinstance(value, str) and name in TOKENS:
        return len(value)
    return without_contents(value)
