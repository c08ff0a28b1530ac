"""Prints the executables among the messages of `cargo test --no-run --message-format=json` on standard input, each
after the folder of its package and a tab: the tests of packages below the folders that are given as arguments, and the program `engines`."""

import json
import sys
from pathlib import Path

root = Path(__file__).resolve().parents[2]
for line in sys.stdin:
    message = json.loads(line)
    if message.get("reason") != "compiler-artifact" or not message["executable"]:
        continue
    folder = Path(message["manifest_path"]).parent
    if not message["profile"]["test"] and message["target"]["name"] != "engines":
        continue
    if any(folder.is_relative_to(root / wanted) for wanted in sys.argv[1:]):
        print(folder, message["executable"], sep="\t")
