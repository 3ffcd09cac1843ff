"""Goals of `benchmarks/table.py`, and the measured values."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping

# Goals of rates are for large batches of uniform ids that have rows.
_BATCH = 131_072


def goals_of(record: Mapping) -> list[dict]:
    """Returns the goals that the measured rows can be held to.

    Args:
        record: Of `table.Benchmark`, with scaling.

    Returns:
        Per goal: what (text), sign ("<=" or ">="), goal, here, met.
    """
    clock = record["clock"]
    found = [
        *_throughput(record["throughput"], clock),
        *_scaling(record["scaling"]),
        *_life(record, clock),
    ]
    return [
        {
            "what": what,
            "sign": sign,
            "goal": goal,
            "here": here,
            "met": here >= goal if sign == ">=" else here <= goal,
        }
        for what, sign, goal, here in found
    ]


def _throughput(rows, clock: str) -> Iterator[tuple]:
    for row in rows:
        if row["zipf"] or row["hit_rate"] < 1 or row["batch"] != _BATCH:
            continue
        work, dim = row["work"], row["dim"]
        figures = row[clock]
        name = f"{_case(row)}, {work}, {row['threads']} threads: "
        to_peer = {
            "lookup": {"tfra": 5.0 if dim < 64 else 4.0, "dense": 1.0},
            "insert": {"tfra": 10.0},
            "step": {"tfra": 12.0, "dense": 1.5},
        }.get(work, {})
        for peer, goal in to_peer.items():
            ratio = figures["ratios"].get(f"raw/{peer}")
            if ratio:
                yield f"{name}times {peer}", ">=", goal, ratio["median"]
        if work == "lookup" and row["ceiling"]:
            share = row["ceiling"][clock]["share"]
            if share is not None:
                yield f"{name}share of ceiling", ">=", 0.5, share
        raw = figures["rates"].get("raw")
        if (
            raw
            and (work, row["threads"], dim) == ("update", 1, 16)
            and row["optimizer"] == "adagrad"
        ):
            yield f"{name}M rows/s", ">=", 12.0, raw["median"]


def _scaling(rows) -> Iterator[tuple]:
    for row in rows:
        if (
            row["work"] in ("lookup", "update", "step")
            and row["batch"] == _BATCH
            and not row["zipf"]
            and row["hit_rate"] == 1
            and row["threads"] == 2
            and "raw" in row["ratio"]
        ):
            name = f"{_case(row)}, {row['work']}: two threads, times one"
            yield name, ">=", 1.7, row["ratio"]["raw"]


def _life(record: Mapping, clock: str) -> Iterator[tuple]:
    for row in record["growth"]:
        memory = row["memory_at_best"]
        if row["peer"] == "tfra":
            continue
        name = f"{_case(row)}, {row['peer']}: "
        yield (
            f"{name}p99.9 of growth, times median of last quarter",
            "<=",
            2.0,
            row[clock]["p999_ms"] / row[clock]["median_last_quarter_ms"],
        )
        # With less load, the index has doubled and is not full yet.
        if memory["load_factor"] >= 0.85:
            yield (
                f"{name}bytes per id above its floats",
                "<=",
                16.0 if row["peer"] == "untracked" else 24.0,
                memory["bytes_per_id"],
            )
    for row in record["eviction"]:
        # Other memory of the process hides small tables.
        if row["ratio_to_fresh"] is not None:
            name = f"{_case(row)}, evicted 90 %: resident, times fresh"
            yield name, "<=", 1.4, row["ratio_to_fresh"]


def _case(row: Mapping) -> str:
    return f"{row['ids'] / 1e6:.3g} M x {row['dim']} {row['optimizer']}"
