"""The local cloud, as the tests of the contract use it."""

import json
import os
import urllib.request

CLOUD = os.environ["EPRO_CLOUD"]
# The demonstration study, which every local cloud has.
STUDY, SITE = "EPRO-DEMO", "S01"
ALL_SCOPES = (
    "submissions:write submissions:read instruments:read counts:write counts:read patients:read alerts:read "
    "alerts:write audit:read reports:read forms:validate studies:write patients:write due:read"
)


def call(method, path, bearer=None, body=None):
    """The JSON of an answer with a status of 2xx; any other raises an error."""
    request = urllib.request.Request(CLOUD + path, method=method)
    if bearer:
        request.add_header("Authorization", f"Bearer {bearer}")
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(body).encode()
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def token(role, scope=ALL_SCOPES, patient="P-001"):
    """An access token of the local cloud's issuer."""
    claims = {"role": role, "study": STUDY, "sites": SITE, "scope": scope}
    if role == "patient":
        claims["patient"] = patient
    return call("POST", "/local/tokens", body=claims)["accessToken"]
