#!/usr/bin/env python3
"""What submissions cost in a month. Change the inputs, run it, and read functions/COST.md for where each comes from.

    python3 functions/cost.py [SUBMISSIONS]
"""
import math
import sys

# What you have.
SUBMISSIONS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
ALERTS = 0.155  # of a submission; in the surge of tests/README.md one in six
EMAILS = 1  # deliveries of an alert by e-mail
CHUNK = 1  # submissions that score commits in one transaction; up to 25 at a peak
READS = 0.5  # of a submission: reads of it, a list or a report by staff, each with an audit entry
MONTHS_KEPT = 12  # of submissions in the table

# Prices in USD, on-demand, us-east-1, of 2025. Look them up for your region before you rely on a sum.
WRITE, READ = 0.625e-6, 0.125e-6  # DynamoDB, a unit
STORED, BACKUP = 0.25, 0.20  # DynamoDB, GB and month; point-in-time backup
LAMBDA, INVOCATION = 13.3334e-6, 0.20e-6  # GB-second on arm64; invocation
API = 1.00e-6  # HTTP API, a request of up to 512 KB
PUBLISH, EMAIL = 0.50e-6, 20e-6  # SNS
LOG = 0.50  # CloudWatch Logs, GB taken in
METRIC, ALARM = 0.30, 0.10  # CloudWatch, a month
TRACE = 5e-6  # X-Ray, a trace that is recorded
KEY = 3e-6  # KMS, a request

# Bytes, as measured: see the guide.
SUBMISSION, SCORED, PROFILE, ALERT, AUDIT = 783, 818, 244, 580, 410
APP_LOG, PLATFORM_LOG, ACCESS_LOG = 1_500, 650, 330  # of an invocation, and of a request
METRICS, WATCHED = 53, 64  # each value of a dimension is a metric; an alarm is charged for each metric that it reads
# Milliseconds that are billed, at 256 MB. Assumed: never measured on Lambda.
SUBMIT_MS, SCORE_MS, READ_MS = 30, 80, 40  # and a minute of reconcile for each GB, each day


def units(size, transaction=False):
    """Write units of an item: one for each KB begun, twice in a transaction."""
    return math.ceil(size / 1024) * (2 if transaction else 1)


def read_units(size, consistent=True):
    return math.ceil(size / 4096) * (1 if consistent else 0.5)


def steps(alerts):
    """The writes of one submission: what, how often, units."""
    return [
        ("submit: the submission", 1, units(SUBMISSION)),
        ("submit: its entry in `pending`", 1, 1),
        ("score: the submission with its score, in the transaction", 1, units(SCORED, True)),
        ("score: it leaves `pending`", 1, 1),
        ("score: the profile, in the transaction", 1, units(PROFILE, True)),
        ("score: the site's counter, in the transaction", 1 / CHUNK, units(90, True)),
        ("alert: its row, in the transaction", alerts, units(ALERT, True)),
        ("alert: its entries in `pending` and `site`", alerts, 1 + 1),
        ("alert: marked as sent, moved in `pending`", alerts, units(ALERT) + 2),
        ("alert: acknowledged: row, profile, audit; the call: transactions", alerts, 3 * units(ALERT, True) + 2),
        ("alert: acknowledged: leaves `site`", alerts, 1),
        ("alert: acknowledged: leaves `pending`", alerts, 1 + 1),
        ("reads by staff: audit entry, the call's counter", READS, units(AUDIT) + units(50, True)),
    ]


def costs(submissions, alerts):
    """What a month with so many submissions costs, each of which raises so many alerts, by what is paid for."""
    writes = sum(times * each for _, times, each in steps(alerts))
    table = submissions * MONTHS_KEPT * (SCORED + alerts * (ALERT + 2 * AUDIT) + READS * AUDIT + 100)
    # The registration before the put, the profile before the score.
    reads = submissions * (1 + read_units(PROFILE) + READS * 2)
    sweeps, passes = 30 * 24 * 60, 30
    # sweep asks three lists of eight shards, and counts a fourth; reconcile reads all, consistently.
    idle_reads = sweeps * 32 * 0.5 + passes * table / 4096
    invocations = submissions * (2 + READS) + sweeps + 30 * 24 * 12
    seconds = submissions * (SUBMIT_MS + SCORE_MS + READS * READ_MS) / 1_000 + sweeps * 0.2 + passes * table / 1e9 * 60
    log = invocations * (APP_LOG + PLATFORM_LOG) + submissions * (1 + READS) * ACCESS_LOG
    # X-Ray records the first request of a second and 5 % of the others, of each function that is invoked by itself.
    traced = min(submissions * (2 + READS), 30 * 86_400) + 0.05 * max(0, submissions * (2 + READS) - 30 * 86_400)

    return [
        ("DynamoDB, writes", submissions * writes * WRITE),
        ("DynamoDB, reads of requests", reads * READ),
        ("DynamoDB, reads of sweep and reconcile", idle_reads * READ),
        ("DynamoDB, storage and backup", table / 1e9 * (STORED + BACKUP)),
        ("Lambda, time", seconds * 0.25 * LAMBDA),
        ("Lambda, invocations", invocations * INVOCATION),
        ("API Gateway", submissions * (1 + READS) * API),
        ("SNS, publications", submissions * alerts * PUBLISH),
        ("SNS, e-mails", submissions * alerts * EMAILS * EMAIL),
        ("CloudWatch, logs", log / 1e9 * LOG),
        (f"CloudWatch, {METRICS} metrics of its own, alarms on {WATCHED}", METRICS * METRIC + WATCHED * ALARM),
        ("X-Ray", traced * TRACE),
        ("KMS, the topic's key", submissions * alerts * KEY),
    ]


def total(submissions, alerts):
    return sum(cost for _, cost in costs(submissions, alerts))


print(f"{'write units of one submission':<66}{'times':>7}{'units':>7}")
for name, times, each in steps(ALERTS):
    print(f"{name:<66}{times:>7.3g}{each:>7}")
print(f"{'together':<66}{sum(times * each for _, times, each in steps(ALERTS)):>14.1f}\n")
print(f"{f'{SUBMISSIONS:,} submissions in a month':<66}{'USD':>14}")
for name, cost in costs(SUBMISSIONS, ALERTS):
    print(f"{name:<66}{cost:>14.2f}")
print(f"{'together':<66}{total(SUBMISSIONS, ALERTS):>14.2f}")

patients, sites = 500, 20
diary = total(patients * 30, ALERTS)
print(f"\n{'USD in a month, of all of the above':<66}{'USD':>14}")
for name, cost in [
    ("each further million submissions", total(SUBMISSIONS + 1_000_000, ALERTS) - total(SUBMISSIONS, ALERTS)),
    ("each million alerts of them", (total(SUBMISSIONS, ALERTS + 1) - total(SUBMISSIONS, ALERTS)) * 1e6 / SUBMISSIONS),
    (f"a study of {patients} patients with a daily diary", diary),
    (f"each of its {sites} sites", diary / sites),
]:
    print(f"{name:<66}{cost:>14.2f}")
