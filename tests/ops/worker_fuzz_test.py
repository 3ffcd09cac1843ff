"""Ops refuse requests that are damaged in any place; no process dies of one.

MONOLITH_TF_FUZZ_REQUESTS says how many requests each group of ops gets;
`make soak` asks for many.
"""

from __future__ import annotations

import os
import pathlib

import pytest

import processes

PROGRAM = pathlib.Path(__file__).with_name("worker_fuzz_program.py")
NUM_REQUESTS = int(os.environ.get("MONOLITH_TF_FUZZ_REQUESTS", "100"))

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.parametrize(
    ("group", "seed"),
    [("lookups", 1), ("gradients", 5), ("inputs", 1), ("servers", 1)],
)
def test_damaged_requests_are_refused_and_nothing_dies(group, seed, tmp_path):
    done = processes.run(
        [*processes.PYTHON, PROGRAM, group, NUM_REQUESTS, seed], cwd=tmp_path
    )
    taken, refused = map(int, done.stdout.split())
    assert taken + refused == NUM_REQUESTS
    assert min(taken, refused) > NUM_REQUESTS // 10
