"""Checks recorded requests of the SDK's clients against AWS's own service models, as botocore carries them.

    check_requests.py FOLDER
    check_requests.py --invalid FILE

FOLDER has files `*.jsonl` with a request a line: `{"service": .., "operation": .., "body": {..}}`. The body is the JSON
of DynamoDB, or the form fields of SNS. Every member must be known and of its type, required members must be there, and
lengths, ranges, patterns and enumerations must be the model's. FILE has requests that are all invalid, each of which
must be found: a check of this check.

Exit codes: 0 all requests fit, 1 one does not (each is printed with its place, without the values), 2 nothing could be
checked.
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path

import botocore
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

SERVICES = {"DynamoDB_20120810": "dynamodb", "DynamoDBStreams_20120810": "dynamodbstreams", "sns": "sns"}
# What the functions call. A recording without one of them is not a recording of their tests.
EXPECTED = {
    "dynamodb": {"BatchGetItem", "GetItem", "PutItem", "Query", "Scan", "TransactWriteItems", "UpdateItem"},
    "sns": {"PublishBatch"},
}
JSON_TYPES = {
    "string": str, "boolean": bool, "integer": int, "long": int, "list": list, "map": dict, "structure": dict,
    "blob": str, "timestamp": (int, float), "double": (int, float), "float": (int, float),
}


def models():
    loader = Loader()
    return {name: ServiceModel(loader.load_service_model(name, "service-2"), name) for name in set(SERVICES.values())}


def faults(shape, value, place):
    """The faults of `value` as a `shape`, each with its place."""
    kind = shape.type_name
    if not isinstance(value, JSON_TYPES[kind]) or isinstance(value, bool) != (kind == "boolean"):
        yield f"{place}: is a {type(value).__name__}, not a {kind}"
        return
    if kind == "structure":
        yield from faults_of_structure(shape, value, place)
    elif kind == "list":
        yield from faults_of_size(shape, len(value), place, "members")
        for index, one in enumerate(value):
            yield from faults(shape.member, one, f"{place}[{index}]")
    elif kind == "map":
        yield from faults_of_size(shape, len(value), place, "members")
        for name, one in value.items():
            yield from faults(shape.key, name, f"{place} (a name)")
            yield from faults(shape.value, one, f"{place}.{name}")
    elif kind == "string":
        yield from faults_of_size(shape, len(value), place, "characters")
        if shape.enum and value not in shape.enum:
            yield f"{place}: is none of {', '.join(shape.enum)}"
        pattern = shape.metadata.get("pattern")
        if pattern and not re.fullmatch(pattern, value):
            yield f"{place}: does not match {pattern}"
    elif kind in ("integer", "long"):
        yield from faults_of_size(shape, value, place, "as its value")


def faults_of_structure(shape, value, place):
    for name in shape.required_members:
        if name not in value:
            yield f"{place}.{name}: is missing"
    # The model does not mark it as the union that its documentation describes.
    if shape.name == "AttributeValue" and len(value) != 1:
        yield f"{place}: has {len(value)} members, and must have one"
    for name, one in value.items():
        if name in shape.members:
            yield from faults(shape.members[name], one, f"{place}.{name}")
        else:
            yield f"{place}.{name}: is not in the model"


def faults_of_size(shape, size, place, unit):
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        yield f"{place}: has {size} {unit}, fewer than {least}"
    if most is not None and size > most:
        yield f"{place}: has {size} {unit}, more than {most}"


def from_form(shape, fields, prefix=""):
    """The value of a `shape` that the fields of a form below `prefix` encode; fields that nothing reads stay in it."""
    kind = shape.type_name
    if kind == "structure":
        value = {}
        for name, member in shape.members.items():
            key = prefix + member.serialization.get("name", name)
            if any(field == key or field.startswith(f"{key}.") for field in fields):
                value[name] = from_form(member, fields, key if is_scalar(member) else f"{key}.")
        return value
    if kind in ("list", "map"):
        values = []
        while True:
            entry = f"{prefix}{'member' if kind == 'list' else 'entry'}.{len(values) + 1}"
            if not any(field == entry or field.startswith(f"{entry}.") for field in fields):
                break
            if kind == "list":
                values.append(from_form(shape.member, fields, entry if is_scalar(shape.member) else f"{entry}."))
            else:
                key, of = (part.serialization.get("name", name) for part, name in
                           ((shape.key, "key"), (shape.value, "value")))
                below = f"{entry}.{of}"
                values.append((fields.pop(f"{entry}.{key}"),
                               from_form(shape.value, fields, below if is_scalar(shape.value) else f"{below}.")))
        return values if kind == "list" else dict(values)
    return fields.pop(prefix)


def is_scalar(shape):
    return shape.type_name not in ("structure", "list", "map")


def check(models, request):
    service = SERVICES.get(request["service"])
    if service is None:
        return [f"the service {request['service']} is not known"]
    model = models[service]
    if request["operation"] not in model.operation_names:
        return ["the service has no such operation"]
    shape, body = model.operation_model(request["operation"]).input_shape, request["body"]
    found = []
    if service == "sns":
        fields = {name: value for name, value in body.items() if name not in ("Action", "Version")}
        body = from_form(shape, fields)
        found = [f".{name}: is not in the model" for name in fields]
    found.extend(faults(shape, body, ""))
    # botocore's own check of types and required members, as an opinion that this script has not written.
    report = ParamValidator().validate(body, shape)
    if report.has_errors() and not found:
        found.append("botocore's validator refuses it")
    return found


def all_are_found(file):
    by_service, missed = models(), 0
    lines = file.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if not check(by_service, json.loads(line)):
            print(f"{file.name}:{number}: an invalid request passes")
            missed += 1
    print(f"{len(lines) - missed} of {len(lines)} invalid requests are found")
    return 1 if missed or not lines else 0


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "--invalid" and Path(arguments[1]).is_file():
        return all_are_found(Path(arguments[1]))
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    by_service, checked, wrong = models(), Counter(), Counter()
    for file in sorted(Path(arguments[0]).glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            request = json.loads(line)
            name = (SERVICES.get(request["service"], request["service"]), request["operation"])
            checked[name] += 1
            for fault in check(by_service, request):
                wrong[f"{name[0]} {name[1]}{fault}"] += 1
    for service, operations in EXPECTED.items():
        for operation in operations - {operation for known, operation in checked if known == service}:
            print(f"error: no request of {service} {operation} was recorded", file=sys.stderr)
            return 2
    for (service, operation), number in sorted(checked.items()):
        print(f"{number:>8} kinds of request: {service} {operation}")
    for fault, number in wrong.most_common():
        print(f"WRONG in {number}: {fault}")
    print(f"{sum(checked.values())} kinds of request, {sum(wrong.values())} faults, by botocore {botocore.__version__}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
