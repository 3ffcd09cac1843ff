"""Ids, turns, figures and JSON records of all benchmarks."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
import tqdm


def spread(numbers: np.ndarray) -> np.ndarray:
    """Maps 0, 1, 2 ... to distinct ids all over int64."""
    z = numbers.astype(np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))).view(np.int64)


def zipf(
    random: np.random.Generator, num_ids: int, exponent: float, shape
) -> np.ndarray:
    """Draws numbers below `num_ids`, number k as often as 1 / (k + 1)^exponent.

    Args:
        random: Where the numbers come from.
        num_ids: How many different numbers there are.
        exponent: 0 for uniform numbers.
        shape: Of the result.

    Returns:
        int64 array.
    """
    if exponent == 0:
        return random.integers(0, num_ids, shape)
    weights = 1.0 / np.arange(1, num_ids + 1) ** exponent
    ends = np.cumsum(weights)
    return np.searchsorted(ends / ends[-1], random.random(shape)).clip(
        max=num_ids - 1
    )


def take_turns(
    work: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, list[float]]:
    """Runs every peer once per round, in rotating order.

    Args:
        work: What each peer does, by name.
        rounds: How often.

    Returns:
        Seconds of each run, by name.
    """
    seconds = {name: [] for name in work}
    names = list(work)
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            begin = time.perf_counter()
            work[name]()
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def ratios(
    seconds: Mapping[str, Sequence[float]], ours: str, peer: str
) -> tuple[float, float, float]:
    """Compares two peers round by round, so that noise meets both.

    Returns:
        How many times as fast `ours` is: median, least and largest of rounds.
    """
    of_rounds = sorted(
        theirs / own
        for own, theirs in zip(seconds[ours], seconds[peer], strict=True)
    )
    return statistics.median(of_rounds), of_rounds[0], of_rounds[-1]


def print_table(title: str, rows: Sequence[Sequence[object]]) -> None:
    """Prints rows in columns; the first row is the heading."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    print(title)
    for row in texts:
        first, *others = (
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(
                zip(row, widths, strict=True)
            )
        )
        print("  " + "  ".join([first, *others]).rstrip())


def print_json(record: dict) -> None:
    """Prints a record and its machine in one line."""
    print(json.dumps({**record, **machine()}))


def spread_absent(numbers: np.ndarray) -> np.ndarray:
    """Maps numbers to ids outside `spread` of numbers below 2^40."""
    return spread(numbers + (1 << 40))


def distinct(
    random: np.random.Generator, numbers: np.ndarray, length: int | None
) -> np.ndarray:
    """Returns the different numbers in random order, at most `length`."""
    return random.permutation(np.unique(numbers))[:length]


def resident_bytes() -> int:
    """Returns the resident memory of this process."""
    with open("/proc/self/smaps_rollup") as file:
        for line in file:
            if line.startswith("Rss:"):
                return int(line.split()[1]) << 10
    raise OSError("/proc/self/smaps_rollup has no line 'Rss:'")


def available_bytes() -> int:
    """Returns the memory that can be used without swapping."""
    with open("/proc/meminfo") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    raise OSError("/proc/meminfo has no line 'MemAvailable:'")


def warm_memory(num_bytes: int) -> float:
    """Writes to every page of `num_bytes` and frees them.

    A virtual machine gets much of its memory at the first touch only, which
    takes far longer than a page takes to clear. Whoever comes first would pay.

    Returns:
        Seconds it took.
    """
    begin = time.perf_counter()
    chunk = 64 << 20
    blocks = []
    for _ in tqdm.trange(
        0, num_bytes, chunk, desc="warming memory", unit="chunk", leave=False
    ):
        blocks.append(np.empty(chunk, np.uint8))
        blocks[-1][:: os.sysconf("SC_PAGESIZE")] = 1
    return time.perf_counter() - begin


def machine() -> dict:
    """Describes the machine and its load."""
    model = ""
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "model": model,
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "available_bytes": available_bytes(),
    }
