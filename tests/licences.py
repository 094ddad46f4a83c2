#!/usr/bin/env python3
"""Checks the licence and the origin of every crate that is built into tetap, without a network.

The rules stand in `.deny.toml`, which cargo-deny reads as well. A licence is an SPDX expression such as
`(MIT OR Apache-2.0) AND Unicode-3.0`: of an OR one side must be allowed, of an AND both.
"""

import json
import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[1]
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


def main():
    allowed = set(tomllib.loads((ROOT / ".deny.toml").read_text())["licenses"]["allow"])
    crates = dependencies()
    faults = [fault for crate in crates for fault in faults_of(crate, allowed)]
    print("\n".join(faults) if faults else f"{len(crates)} crates, all from crates.io under allowed licences")
    sys.exit(1 if faults else 0)


def dependencies():
    """The crates that are resolved for this machine's platform, tests included."""
    metadata = cargo("metadata", "--locked", "--format-version", "1", "--filter-platform", host())
    resolved = {node["id"] for node in metadata["resolve"]["nodes"]}
    own = set(metadata["workspace_members"])
    return [crate for crate in metadata["packages"] if crate["id"] in resolved - own]


def cargo(*words):
    return json.loads(subprocess.run(["cargo", *words], cwd=ROOT, check=True, capture_output=True).stdout)


def host():
    version = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    return re.search(r"^host: (.+)$", version, re.MULTILINE).group(1)


def faults_of(crate, allowed):
    name = f"{crate['name']} {crate['version']}"
    if crate["source"] != CRATES_IO:
        yield f"{name}: comes from {crate['source']}, not from crates.io"
    if not crate["license"]:
        yield f"{name}: names no licence"
    elif not permits(crate["license"], allowed):
        yield f"{name}: {crate['license']} is not allowed by .deny.toml"


def permits(expression, allowed):
    """Whether the expression can be met with allowed licences. `A/B` is the older spelling of `A OR B`."""
    tokens = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
    met = either(tokens, allowed)
    return met and not tokens


def either(tokens, allowed):
    met = both(tokens, allowed)
    while tokens[:1] == ["OR"]:
        tokens.pop(0)
        met = both(tokens, allowed) or met
    return met


def both(tokens, allowed):
    met = one(tokens, allowed)
    while tokens[:1] == ["AND"]:
        tokens.pop(0)
        met = one(tokens, allowed) and met
    return met


def one(tokens, allowed):
    if not tokens:
        return False
    token = tokens.pop(0)
    if token == "(":
        met = either(tokens, allowed)
        return bool(tokens) and tokens.pop(0) == ")" and met
    if tokens[:1] == ["WITH"]:
        del tokens[:2]          # an exception only ever allows more
    return token in allowed


if __name__ == "__main__":
    main()
