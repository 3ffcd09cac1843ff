"""Flags of `benchmarks/table.py`, with their sizes and memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from absl import app
from absl import flags

_MEASURES = ("throughput", "growth", "checkpoint", "eviction")
_PEERS = ("table", "ready", "untracked", "dense", "tfra", "keras")
# Tables of which only growth is measured, in addition to table.
GROWTH_ONLY = ("ready", "untracked")
WORKS = ("lookup", "update", "step", "insert")
SLOTS = {"sgd": 0, "adagrad": 1, "adam": 2}

# Default sizes.
_PRESETS = {
    "quick": {
        "ids": ["1000000"],
        "dims": ["16"],
        "batches": ["16384", "131072"],
        "zipfs": ["0"],
        "hit_rates": ["1"],
        "threads": ["1", "2"],
        "optimizers": ["adagrad"],
        "rounds": 10,
    },
    "full": {
        "ids": ["1000000", "10000000"],
        "dims": ["16", "32", "64"],
        "batches": ["1024", "16384", "131072"],
        "zipfs": ["0", "1.05"],
        "hit_rates": ["1", "0.9", "0.5"],
        "threads": ["1", "2"],
        "optimizers": ["adagrad", "adam"],
        "rounds": 21,
    },
    "large": {
        "ids": ["100000000"],
        "dims": ["16"],
        "batches": ["131072"],
        "zipfs": ["0", "1.05"],
        "hit_rates": ["1"],
        "threads": ["2"],
        "optimizers": ["adagrad"],
        "rounds": 21,
    },
}

flags.DEFINE_bool("quick", False, "The sizes of the default, by name.")
flags.DEFINE_bool("full", False, "All sizes.")
flags.DEFINE_bool("large", False, "100 M ids.")
flags.mark_bool_flags_as_mutual_exclusive(["quick", "full", "large"])
MEASURE_FLAG = flags.DEFINE_list(
    "measures", list(_MEASURES), "What to measure."
)
WORK_FLAG = flags.DEFINE_list("works", list(WORKS), "Of throughput.")
_PEER_FLAG = flags.DEFINE_list(
    "peers", None, "Beside what; large has the table alone."
)
flags.DEFINE_list("ids", None, "Rows of every table.")
flags.DEFINE_list("dims", None, "Floats of a row.")
flags.DEFINE_list("batches", None, "Ids of a call.")
flags.DEFINE_list(
    "zipfs", None, "Exponents of how often ids come; 0 for uniform."
)
flags.DEFINE_list("hit_rates", None, "Shares of looked-up ids with a row.")
flags.DEFINE_list("threads", None, "Numbers of TensorFlow's threads.")
flags.DEFINE_list("optimizers", None, "Of sgd, adagrad, adam.")
flags.DEFINE_integer("rounds", None, "Turns of every peer.", lower_bound=2)
GROWTH_BATCH = flags.DEFINE_integer(
    "growth_batch", 16_384, "New ids a batch.", lower_bound=1
)
CAPACITY = flags.DEFINE_float(
    "capacity",
    1.25,
    "Of throughput: rows that memory is ready for (initial_capacity of tables, "
    "init_size of TFRA), as a multiple of those that there are; 0: tables have "
    "what they grew to, and TFRA has room for the rows.",
    lower_bound=0,
)
WARM_MEMORY = flags.DEFINE_bool(
    "warm_memory",
    True,
    "Touch what the peers will need first: a virtual machine may have to wait "
    "for memory that it never used.",
)
CLOCK = flags.DEFINE_enum(
    "clock", "wall", ["wall", "cpu"], "What the printed figures count."
)
CEILING_MIB = flags.DEFINE_integer(
    "ceiling_mib", 1024, "Memory of the ceiling.", lower_bound=1
)
CEILING_ACCESSES = flags.DEFINE_integer(
    "ceiling_accesses", 8_000_000, "Of each thread and loop.", lower_bound=1000
)
SEED = flags.DEFINE_integer("seed", 1, "Of the ids.", lower_bound=0)
FOLDER = flags.DEFINE_string(
    "folder", None, "Where checkpoints are written; default: the system's."
)
JSON = flags.DEFINE_string("json", None, "File for all figures.")
PLOT = flags.DEFINE_string("plot", None, "File for a plot, .png or .svg.")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Cases to run: one list per flag."""

    ids: list[int]
    dims: list[int]
    batches: list[int]
    zipfs: list[float]
    hit_rates: list[float]
    threads: list[int]
    optimizers: list[str]
    rounds: int
    peers: list[str]


def sizes_of_flags() -> Sizes:
    """Reads the flags, and the preset for missing ones.

    Raises:
        app.UsageError: A flag has a value that there is not.
    """
    preset = next(
        (name for name in ("full", "large") if flags.FLAGS[name].value),
        "quick",
    )
    values = {}
    for field in dataclasses.fields(Sizes):
        if field.name == "peers":
            continue
        value = flags.FLAGS[field.name].value
        values[field.name] = (
            _PRESETS[preset][field.name] if value is None else value
        )
    default_peers = (
        ["table", *GROWTH_ONLY] if preset == "large" else list(_PEERS)
    )
    values["peers"] = _PEER_FLAG.value or default_peers
    for name, allowed in (
        ("peers", _PEERS),
        ("optimizers", tuple(SLOTS)),
    ):
        _check(name, values[name], allowed)
    _check("measures", MEASURE_FLAG.value, _MEASURES)
    _check("works", WORK_FLAG.value, WORKS)
    for name, kind in (
        ("ids", int),
        ("dims", int),
        ("batches", int),
        ("threads", int),
        ("zipfs", float),
        ("hit_rates", float),
    ):
        try:
            values[name] = [kind(text) for text in values[name]]
        except ValueError as error:
            raise app.UsageError(f"--{name}: {error}") from None
        low = 0 if name == "zipfs" else 1e-9 if kind is float else 1
        high = 1 if name == "hit_rates" else float("inf")
        if not all(low <= value <= high for value in values[name]):
            raise app.UsageError(
                f"--{name} must be from {low:g} to {high:g}. Received: "
                f"{values[name]}."
            )
    return Sizes(**values)


def _check(flag: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    unknown = [value for value in given if value not in allowed]
    if unknown:
        raise app.UsageError(
            f"--{flag} must be of {', '.join(allowed)}. Received: {unknown}."
        )


def needed_bytes(peer: str, num_rows: int, dim: int, optimizer: str) -> int:
    """Estimates the memory of a peer; on the safe side."""
    slots = SLOTS[optimizer]
    row = 4 * dim
    if peer in ("table", *GROWTH_ONLY, "tfra"):
        num_rows = int(num_rows * max(1.0, CAPACITY.value))
    if peer in ("table", *GROWTH_ONLY):
        each = (row * (1 + slots) + 28) * 1.02
    elif peer == "tfra":
        # A power of two of places, four per bucket; a table for every slot.
        places = 1 << max(0, num_rows - 1).bit_length()
        each = (1 + slots) * (row + 12) * max(1.0, places / num_rows)
    elif peer == "dense":
        each = row * (1 + slots)
    else:
        # Shares the weights of dense; Adam creates whole tensors per step.
        each = row * (1 + slots + (3 if optimizer == "adam" else 0))
    return int(each * num_rows) + (64 << 20)
