"""A short chaos run: real processes, faults from a new seed.

`make chaos` is the long one (docs/robustness.md). To repeat a run that failed,
pass the seed that it printed: MONOLITH_TF_CHAOS_SEED, or `make chaos SEED=n`.
"""

from __future__ import annotations

import json
import os
import pathlib
import secrets
import sys

import processes

CHAOS = pathlib.Path(__file__).parents[1] / "chaos"
HARNESS = pathlib.Path(processes.__file__).parent
MINUTES = 0.5


def test_no_rule_is_broken_by_the_faults_of_a_new_seed(capfd):
    seed = os.environ.get("MONOLITH_TF_CHAOS_SEED") or secrets.randbelow(2**32)
    with capfd.disabled():
        print(f"\nchaos: seed {seed}", flush=True)
    done = processes.run(
        [
            *(sys.executable, "-P", CHAOS / "chaos.py"),
            *(f"--seed={seed}", f"--minutes={MINUTES}"),
        ],
        env={**os.environ, "PYTHONPATH": f"{HARNESS}:{CHAOS}"},
    )
    report = json.loads(done.stdout[done.stdout.index("\n{") :])
    assert report["seed"] == int(seed)
    assert report["rounds"] >= 1
    assert report["faults"] >= 1
    assert report["findings"] == []
