"""Faults drawn by dice, against real processes.

    make chaos [SEED=n] [MINUTES=10] [ARGS="--job=3"]

Runs jobs one after the other: a trainer that pushes to a model server, or a
cluster of parameter servers. Each round of a job injects some faults, heals
them, waits until all is done, and checks the whole history. All draws come from
the seed: the same seed and `--job` draw the same faults again. The moments at
which processes reach them are those of the machine.

Ends with code 1 if a rule was broken; the folder of that job is kept.
"""

from __future__ import annotations

import argparse
import collections
import json
import pathlib
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
import traceback

import delivery_faults
from cluster_job import ClusterJob
from delivery_job import DeliveryJob

# Of the jobs one after the other. A kind has `settle`, `counts`, `close`,
# `chance` and `ended`; the function draws faults for it.
KINDS = (
    (DeliveryJob, delivery_faults.draw),
    (DeliveryJob, delivery_faults.draw),
    (ClusterJob, ClusterJob.draw),
)
ROUNDS_PER_JOB = 12
MOST_FAULTS_PER_ROUND = 5


class Run:
    """Jobs, and the tally of their faults.

    Args:
        seed: Seed of all jobs.
        minutes: No round begins after this time.

    Attributes:
        faults: Number of injected faults by kind.
        ended: Number of ends of a role by itself, by its last words.
        findings: What was wrong, with the job that replays it.
    """

    def __init__(self, seed: int, minutes: float):
        """Runs nothing yet."""
        self._seed = seed
        self._started = time.monotonic()
        self._deadline = self._started + 60 * minutes
        self.faults = collections.Counter()
        self.ended = collections.Counter()
        self.findings = []
        self.num_rounds = 0

    def job(self, number: int) -> None:
        """Runs one job: rounds of faults, until the time is over."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f"chaos-{number}-"))
        before = len(self.findings)
        job = None
        try:
            make, draw = KINDS[number % len(KINDS)]
            job = make(folder, f"{self._seed}/{number}")
            for round_number in range(ROUNDS_PER_JOB):
                self._round(job, draw, number, round_number)
                is_over = time.monotonic() > self._deadline
                if is_over or len(self.findings) > before:
                    break
        except Exception as error:
            # The tally goes on; a fault of the run itself is one to mend.
            traceback.print_exc()
            self._found(number, f"{type(error).__name__}: {error}")
        finally:
            if job is not None:
                job.close()
                self.faults += job.counts()
                self.ended += job.ended
        if len(self.findings) > before:
            print(f"kept: {folder}", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)

    def jobs(self) -> None:
        """Runs jobs until the time is over."""
        number = 0
        while time.monotonic() < self._deadline:
            self.job(number)
            number += 1

    def _round(self, job, draw, number: int, round_number: int) -> None:
        faults = draw(job, job.chance.randint(1, MOST_FAULTS_PER_ROUND))
        names = ", ".join(fault.__name__ for fault in faults)
        print(f"job {number} round {round_number}: {names}", flush=True)
        # A fault may draw more or less, by what it finds: each has its own.
        chance = job.chance
        seeds = [chance.getrandbits(64) for _ in faults]
        for fault, seed in zip(faults, seeds, strict=True):
            job.chance = random.Random(seed)
            fault(job)
        job.chance = chance
        for finding in job.settle():
            self._found(number, finding)
        self.num_rounds += 1

    def _found(self, number: int, finding: str) -> None:
        self.findings.append(f"job {number}: {finding}")
        print(f"FOUND: job {number}: {finding}", flush=True)

    def report(self) -> dict:
        """Returns the tally."""
        return {
            "seed": self._seed,
            "minutes": round((time.monotonic() - self._started) / 60, 1),
            "rounds": self.num_rounds,
            "faults": sum(self.faults.values()),
            "by_kind": dict(sorted(self.faults.items())),
            "ended_by_themselves": dict(self.ended.most_common()),
            "findings": self.findings,
        }


def main() -> int:
    """Runs jobs and prints the tally; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--job", type=int, help="run this job only")
    arguments = parser.parse_args()
    # Disks are unmounted whatever ends the run.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(1))
    print(f"chaos: seed {arguments.seed}", flush=True)
    run = Run(arguments.seed, arguments.minutes)
    if arguments.job is None:
        run.jobs()
    else:
        run.job(arguments.job)
    print(json.dumps(run.report(), indent=1), flush=True)
    return 1 if run.findings else 0


if __name__ == "__main__":
    sys.exit(main())
