"""The failpoints of a chaos run.

All failpoints of the code whose names begin with a prefix below. This is the
one place to add the moments of another part of the project.
"""

from __future__ import annotations

import pathlib
import random
import re

_ROOT = pathlib.Path(__file__).parents[2]
_HIT = re.compile(r'(?:failpoints\.hit|\bFailAt)\(\s*"([^"]+)"')

# What a trainer with a pusher reaches while it runs, and its faults.
WHILE_IT_RUNS = (
    *("delta_log.", "delivery.", "pusher.", "take_delta."),
    *("checkpoints.", "traced_checkpoint.", "export_groups."),
    *("durable_files.", "snapshot_store.", "snapshot_begin."),
    *("snapshot_write.", "local_file."),
)
# What it reaches when it starts: restores and exports.
AT_START = (
    *("table_state.", "clear.", "import_rows.", "checkpoints."),
    *("begin_restore.", "end_restore.", "snapshot_read."),
    *("export.", "row_file.", "saved_model_files.", "delta_log."),
)
# Of the disk, where the code handles them.
DISK_ACTIONS = ("enospc", "eio")
ON_DISK = ("delta_log.before_write", "delta_log.before_fsync")


def failpoints() -> list[str]:
    """Returns the names of all failpoints of the code."""
    found = set()
    for folder in ("monolith_tf", "ops", "serving"):
        for path in (_ROOT / folder).rglob("*.*"):
            if path.suffix in (".py", ".cc"):
                found |= set(_HIT.findall(path.read_text()))
    return sorted(found)


def draw(chance: random.Random) -> tuple[str, str]:
    """Returns a kind, "run" or "start", and a value of MONOLITH_TF_FAIL_AT."""
    kind = chance.choice(("run", "run", "start"))
    prefixes = WHILE_IT_RUNS if kind == "run" else AT_START
    names = [n for n in failpoints() if n.startswith(prefixes)]
    name = chance.choice(names)
    hit = chance.randint(1, 12) if kind == "run" else chance.randint(1, 3)
    actions = ["kill", "kill", f"sleep={chance.uniform(0.2, 2.0):.1f}"]
    if name in ON_DISK:
        actions += DISK_ACTIONS
    return kind, f"{name}:{hit}:{chance.choice(actions)}"
