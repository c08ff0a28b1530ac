"""The checks of form.json by pandera, on whole columns: `python pandera_checks.py ROWS REPETITIONS`."""

import json
import sys
import time

import numpy as np
import pandas as pd
import pandera.pandas as pa

NOW = pd.Timestamp(1_800_000_000, unit="s")
POUND = 0.45359237
SUBJECTS = {f"S-{subject:04}" for subject in range(500)}
SITES = {"S-0001"}
TO_KILOGRAMS = {"kg": 1.0, "LB": POUND}


def kilograms(rows):
    return pd.to_numeric(rows["VSORRES"], errors="coerce") * rows["VSORRESU"].map(TO_KILOGRAMS)


def is_weight(rows):
    return rows["VSTESTCD"] == "WEIGHT"


def outside(rows, least, most):
    return is_weight(rows) & ((rows["kilograms"] < least) | (rows["kilograms"] > most))


def changes(rows):
    """The rows whose weight differs by more than a tenth from the one before of the same subject."""
    weights = rows[is_weight(rows)].sort_values("date", kind="stable")
    before = weights.groupby(["USUBJID", "VSTESTCD"], sort=False)["kilograms"].shift()
    changed = (weights["kilograms"] - before).abs() * 100 > 10 * before.abs()
    return changed.reindex(rows.index, fill_value=False)


def check(name, test):
    return pa.Check(test, name=name)


schema = pa.DataFrameSchema(
    {
        "SITEID": pa.Column(str, check("site", lambda site: site.isin(SITES))),
        "USUBJID": pa.Column(str, check("subject", lambda subject: subject.isin(SUBJECTS))),
        "VISITNUM": pa.Column(int),
        "VSDTC": pa.Column(str),
        "VSTESTCD": pa.Column(str, check("test", lambda test: test.isin(["WEIGHT", "HEIGHT"]))),
        "VSSTAT": pa.Column(str),
        "VSORRES": pa.Column(str, check("result", lambda result: result != "")),
        "VSORRESU": pa.Column(str, check("unit", lambda unit: unit != "")),
        "VSSTRESN": pa.Column(float),
        "date": pa.Column("datetime64[ns]", check("future", lambda date: date <= NOW)),
    },
    checks=[
        check("not-done", lambda rows: (rows["VSORRES"] != "") | (rows["VSSTAT"] != "")),
        check("unit-suits", lambda rows: ~is_weight(rows) | rows["VSORRESU"].isin(["kg", "LB", ""])),
        check("possible", lambda rows: ~outside(rows, 1, 400)),
        check("usual", lambda rows: ~outside(rows, 30, 200)),
        check("standard", lambda rows: ~((rows["VSSTRESN"] - rows["kilograms"]).abs() > 0.01)),
        check("one", lambda rows: ~rows.duplicated(["USUBJID", "VSTESTCD", "VISITNUM"], keep=False)),
        check("change", lambda rows: ~changes(rows)),
    ],
)


def findings_of(rows):
    rows = rows.assign(kilograms=kilograms(rows), date=pd.to_datetime(rows["VSDTC"]).astype("datetime64[ns]"))
    try:
        schema.validate(rows, lazy=True)
    except pa.errors.SchemaErrors as errors:
        # A check of the whole frame lists each cell of a row that it refuses.
        cases = errors.failure_cases[["index", "check"]].drop_duplicates()
        return [[int(row), name] for row, name in cases.itertuples(index=False)]
    return []


def main():
    text = open(sys.argv[1], encoding="utf-8").read()
    read_ms, check_ms, findings = [], [], []
    for _ in range(int(sys.argv[2])):
        start = time.process_time()
        rows = pd.DataFrame(json.loads(text))
        rows["VSSTRESN"] = rows["VSSTRESN"].astype(np.float64)
        read = time.process_time()
        findings = findings_of(rows)
        checked = time.process_time()
        read_ms.append((read - start) * 1000)
        check_ms.append((checked - read) * 1000)
    print(json.dumps({"readMs": read_ms, "checkMs": check_ms, "findings": findings}))


main()
