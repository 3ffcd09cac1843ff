"""Figures of `benchmarks/table.py`: rates, ratios, shares of the ceiling."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from collections.abc import Sequence

import common
import memory_ceiling
import table_goals

CLOCKS = ("wall", "cpu")
# Peers with a variable; ratios use the faster one.
_DENSE = ("dense", "sparse_apply")
PEERS = ("raw", "table", "tfra", "dense", "sparse_apply", "keras")


def quantile(values: Sequence[float], share: float) -> float:
    """Returns the smallest value that `share` of the values do not exceed.

    Example:
    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5), quantile([1.0, 2.0], 0.999)
    (2.0, 2.0)
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def throughput_figures(parts: Sequence[Mapping]) -> dict:
    """Combines the turns of a work.

    Args:
        parts: What `table_measures.Throughput.run` returned, call by call.

    Returns:
        By clock: rates, millions of ids a second by peer (median, least, most);
        ratios of raw and table to tfra, to the faster dense peer and to keras,
        by turns (median, least, most).
    """
    figures: dict = {"turns": 0, "wall": {}, "cpu": {}}
    for clock in CLOCKS:
        rates: dict[str, list[float]] = {}
        for part in parts:
            for peer, seconds in part["seconds"].items():
                rates.setdefault(peer, []).extend(
                    part["ids"] / max(1e-9, value) / 1e6
                    for value in seconds[clock]
                )
        figures["turns"] = max(map(len, rates.values()), default=0)
        figures[clock]["rates"] = {p: _spread(v) for p, v in rates.items()}
        dense = [rates[peer] for peer in _DENSE if peer in rates]
        others = {
            "tfra": rates.get("tfra"),
            "dense": [max(turn) for turn in zip(*dense, strict=True)] or None,
            "keras": rates.get("keras"),
        }
        figures[clock]["ratios"] = {
            f"{ours}/{other}": _spread(
                [a / b for a, b in zip(rates[ours], theirs, strict=True)]
            )
            for ours in ("raw", "table")
            for other, theirs in others.items()
            if ours in rates and theirs
        }
    return figures


def growth_figures(seconds: Mapping[str, Sequence[float]], batch: int) -> dict:
    """Returns rate and pauses of a table that grew, by clock.

    Args:
        seconds: Of batches, by clock.
        batch: New ids of each.
    """
    figures = {}
    for clock, values in seconds.items():
        last = values[-max(1, len(values) // 4) :]
        figures[clock] = {
            "rate": batch * len(values) / max(1e-9, sum(values)) / 1e6,
            "median_last_quarter_ms": 1e3 * statistics.median(last),
            "p999_ms": 1e3 * quantile(values, 0.999),
            "max_ms": 1e3 * max(values),
        }
    return figures


def summary(record: dict) -> dict:
    """Compares with the ceiling, between threads, and with the goals.

    Args:
        record: Of `table.Benchmark`; its rows of throughput get ceiling_share.

    Returns:
        Scaling and goals, for the record.
    """
    for row in record["throughput"]:
        row["ceiling"] = _ceiling_of(record, row)
    scaling = [
        {
            **{k: one[k] for k in (*_CASE, "ids", "dim", "optimizer")},
            "threads": two["threads"],
            "ratio": {
                peer: two["wall"]["rates"][peer]["median"] / rate["median"]
                for peer, rate in one["wall"]["rates"].items()
            },
        }
        for one in record["throughput"]
        for two in record["throughput"]
        if one["threads"] == 1 and two["threads"] > 1 and _same(one, two)
    ]
    return {
        "scaling": scaling,
        "goals": table_goals.goals_of({**record, "scaling": scaling}),
    }


_CASE = ("work", "zipf", "hit_rate", "batch")


def _same(one: Mapping, two: Mapping) -> bool:
    keys = (*_CASE, "ids", "dim", "optimizer")
    return all(one[key] == two[key] for key in keys)


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": statistics.median(values),
        "least": min(values),
        "most": max(values),
    }


def _ceiling_of(record: Mapping, row: Mapping) -> dict | None:
    """Rate of the raw op that the memory allows; None if unknown.

    Uniform ids of rows that are there: others are partly in caches, or make
    rows. The index is read; so is, for a lookup, header and weights of a row;
    an update reads and writes all of it.
    """
    runs = [
        ceiling
        for ceiling in record["ceiling"]
        if ceiling["threads"] == row["threads"] and ceiling["dim"] == row["dim"]
    ]
    stats = row.get("stats")
    if (
        not runs
        or not stats
        or row["zipf"]
        or row["hit_rate"] < 1
        or row["work"] == "insert"
    ):
        return None
    stride = round(stats["record_bytes"])
    probes = stats["mean_probes"]
    header = memory_ceiling.HEADER_BYTES["tracked"]
    read = memory_ceiling.lines_of(stride, header + 4 * row["dim"])
    whole = memory_ceiling.lines_of(stride, stride)
    lines = {
        "lookup": {"lines_read": probes + read},
        "update": {"lines_read": probes, "lines_written": whole},
        # The rows of a batch do not stay in the caches until the update.
        "step": {"lines_read": 2 * probes + read, "lines_written": whole},
    }[row["work"]]
    result: dict = {**lines}
    for clock in CLOCKS:
        allowed = statistics.mean(
            memory_ceiling.ids_a_second(run, clock, **lines) for run in runs
        )
        raw = row[clock]["rates"].get("raw")
        result[clock] = {
            "rate": allowed,
            "share": raw["median"] / allowed if raw else None,
        }
    return result


def print_report(record: dict) -> None:
    """Prints all tables."""
    clock = record["clock"]
    unit = "s" if clock == "wall" else "processor s"
    if record["ceiling"]:
        common.print_table(
            f"Memory ceiling, M/{unit}",
            [["", "threads", "lines", "lines 4k", "written", "gather", "load"]]
            + [
                [
                    f"{c['when']}, dim {c['dim']}",
                    c["threads"],
                    *(
                        f"{c[name][clock]:.1f}"
                        for name in (
                            "lines",
                            "lines_4k",
                            "lines_write",
                            "gather",
                        )
                    ),
                    c["load_average"][0],
                ]
                for c in record["ceiling"]
            ],
        )
    if record["throughput"]:
        common.print_table(
            f"Throughput, M ids/{unit}, medians of turns; x: raw op to peer",
            _throughput_table(record["throughput"], clock),
        )
    if record["scaling"]:
        common.print_table(
            "More threads, times one (by the clock)",
            [["", "threads", "raw", "table"]]
            + [
                [
                    name_of(row),
                    row["threads"],
                    *(
                        _number(row["ratio"].get(peer))
                        for peer in ("raw", "table")
                    ),
                ]
                for row in record["scaling"]
            ],
        )
    _print_life(record, clock, unit)
    if record["goals"]:
        common.print_table(
            "Goals",
            [["", "goal", "here", ""]]
            + [
                [
                    goal["what"],
                    f"{goal['sign']} {goal['goal']:g}",
                    _number(goal["here"]),
                    "met" if goal["met"] else "missed",
                ]
                for goal in record["goals"]
            ],
        )
    for reason in record["left_out"]:
        print(f"Left out: {reason}")


def _throughput_table(rows, clock: str) -> list[list[str]]:
    peers = [p for p in PEERS if any(p in r[clock]["rates"] for r in rows)]
    others = ("tfra", "dense", "keras")
    table = [
        ["", "threads", *peers, *(f"x {o}" for o in others), "% of ceiling"]
    ]
    for row in rows:
        rates, ratios = row[clock]["rates"], row[clock]["ratios"]
        share = row["ceiling"] and row["ceiling"][clock]["share"]
        table.append(
            [
                name_of(row),
                row["threads"],
                *(_number(rates.get(p, {}).get("median")) for p in peers),
                *(
                    _number(ratios.get(f"raw/{o}", {}).get("median"))
                    for o in others
                ),
                "" if share is None else f"{100 * share:.0f}",
            ]
        )
    return table


def _print_life(record: dict, clock: str, unit: str) -> None:
    if record["growth"]:
        common.print_table(
            f"Growth from nothing, milliseconds a batch ({clock})",
            [
                [
                    "",
                    f"M ids/{unit}",
                    "median of last quarter",
                    "p99.9",
                    "max",
                    "bytes/id above floats",
                    "load factor",
                    "at best",
                    "load factor",
                ]
            ]
            + [
                [
                    f"{_sizes(row)}, {row['peer']}",
                    _number(row[clock]["rate"]),
                    _number(row[clock]["median_last_quarter_ms"]),
                    _number(row[clock]["p999_ms"]),
                    _number(row[clock]["max_ms"]),
                    *(
                        _number(row[when].get(name))
                        for when in ("memory", "memory_at_best")
                        for name in ("bytes_per_id", "load_factor")
                    ),
                ]
                for row in record["growth"]
            ],
        )
    if record["checkpoint"]:
        common.print_table(
            f"Checkpoint ({clock})",
            [["", "save s", "restore s", "MB", "save MB/s", "restore MB/s"]]
            + [
                [
                    f"{_sizes(row)}, {row['peer']}",
                    _number(row["save_seconds"][clock]),
                    _number(row["restore_seconds"][clock]),
                    _number(row["bytes"] / 1e6),
                    _number(row["bytes"] / 1e6 / row["save_seconds"][clock]),
                    _number(row["bytes"] / 1e6 / row["restore_seconds"][clock]),
                ]
                for row in record["checkpoint"]
            ],
        )
    if record["eviction"]:
        common.print_table(
            "Eviction of a random 90 % while another thread reads",
            [
                [
                    "",
                    "sweep s",
                    "slowest lookup ms",
                    "MB full",
                    "MB left",
                    "MB fresh",
                    "left / fresh",
                ]
            ]
            + [
                [
                    _sizes(row),
                    _number(row["sweep_seconds"]["wall"]),
                    _number(1e3 * row["slowest_lookup_meanwhile_seconds"]),
                    *(
                        _number(row["resident_bytes"][name] / 1e6)
                        for name in ("full", "left", "fresh")
                    ),
                    _number(row["ratio_to_fresh"]),
                ]
                for row in record["eviction"]
            ],
        )


def _sizes(row: Mapping) -> str:
    ids = row["ids"]
    text = f"{ids / 1e6:.3g} M" if ids >= 1e5 else str(ids)
    return f"{text} x {row['dim']} {row['optimizer']}"


def name_of(row: Mapping) -> str:
    """Describes a row of throughput."""
    parts = [_sizes(row), row["work"], str(row["batch"])]
    if row["zipf"]:
        parts.append(f"zipf {row['zipf']:g}")
    if row["hit_rate"] < 1:
        parts.append(f"{100 * row['hit_rate']:.0f} % there")
    return ", ".join(parts)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.2f}"
