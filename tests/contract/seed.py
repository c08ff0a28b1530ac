"""Gives the site of the demonstration study patients with scores and alerts, so that lists have several pages."""

import time
import uuid

from cloud import SITE, call, token

PATIENTS = 6


def main():
    for number in range(1, PATIENTS + 1):
        patient = token("patient", patient=f"P-{number:03}")
        answers = {str(item): number % 4 for item in range(1, 9)} | {"9": 1}
        submission = {
            "id": str(uuid.uuid4()),
            "instrument": "phq-9",
            "version": "1.0.0",
            "authoredAt": "2026-11-20T07:58:03+08:00",
            "answers": answers,
        }
        call("POST", "/v1/submissions", patient, submission)
    staff, end = token("staff"), time.monotonic() + 60
    while call("GET", f"/v1/sites/{SITE}/counts", staff)["counts"][0]["submissions"] < PATIENTS:
        if time.monotonic() > end:
            raise SystemExit("the submissions were not scored within a minute")
        time.sleep(0.1)


main()
