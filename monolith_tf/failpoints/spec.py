"""The value of MONOLITH_TF_FAIL_AT: which failpoints fail, when and how."""

from __future__ import annotations

import dataclasses
import re

VARIABLE = "MONOLITH_TF_FAIL_AT"
ACTIONS = ("kill", "raise", "sleep", "enospc", "eio")

_NAME = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")
_HIT = re.compile(r"[1-9][0-9]{0,17}")
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


@dataclasses.dataclass(frozen=True)
class Failpoint:
    """One entry of the variable.

    Args:
        name: The failpoint.
        hit: Number of the hit that triggers, from 1; 0 for each hit.
        action: One of `ACTIONS`.
        sleep_seconds: Duration of `sleep`.
    """

    name: str
    hit: int
    action: str
    sleep_seconds: float = 0.0


def parse(spec: str) -> tuple[Failpoint, ...]:
    """Parses `name:hit:action[,name:hit:action ...]`.

    Args:
        spec: The entries. `hit` is empty for each hit. `action` is "kill",
            "raise", "sleep=seconds", "enospc" or "eio".

    Returns:
        The entries in order.

    Raises:
        ValueError: An entry is malformed.

    Example:
    >>> parse("delta_log.after_rename:3:kill")[0].hit
    3
    """
    if not spec:
        return ()
    return tuple(_parse_one(entry) for entry in spec.split(","))


def _parse_one(entry: str) -> Failpoint:
    name, hit, action = (entry.split(":") + ["", ""])[:3]
    action, equals, seconds = action.partition("=")
    is_sleep = action == "sleep"
    if (
        entry.count(":") != 2
        or not _NAME.fullmatch(name)
        or (hit and not _HIT.fullmatch(hit))
        or action not in ACTIONS
        or bool(equals) is not is_sleep
        or (is_sleep and not _SECONDS.fullmatch(seconds))
    ):
        raise ValueError(
            f"{VARIABLE} must have entries of the form name:hit:action, "
            "separated by commas; hit is a positive number, or empty for each "
            "hit; action is kill, raise, sleep=seconds, enospc or eio. "
            f"Received: '{entry}'. Example: delta_log.after_rename:3:kill."
        )
    return Failpoint(
        name, int(hit or 0), action, float(seconds) if is_sleep else 0.0
    )
