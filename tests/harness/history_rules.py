"""Rules that every history of a delivery must obey.

A rule takes a `History` and yields what breaks it, in words.
"""

from __future__ import annotations

import bisect
import collections
import functools
import math
import os
from collections.abc import Callable
from collections.abc import Iterator

from history import Event
from history import History
from history import comparable
from history import read

Rule = Callable[[History], Iterator[str]]


def no_update_is_lost(history: History, final: dict, bound: int = 0):
    """Yields rows that lack acknowledged updates at the end.

    Args:
        history: The history.
        final: Row -> value that was read at the end.
        bound: Number of acknowledged updates since the last restore that may
            be lost.
    """
    acknowledged = {(e.row, e.value) for e in history.of("acknowledged")}
    allowed = bound
    for row, events in sorted(_last_life(history).items()):
        index = _index(events, final.get(row))
        for event in events[index + 1 :]:
            if (row, event.value) not in acknowledged:
                continue
            if allowed:
                allowed -= 1
                continue
            yield (
                f"{row} is {final.get(row)!r} at the end, and its "
                f"acknowledged update to {event.value!r} is lost"
            )
            break


def rows_are_what_updates_made_them(history: History, final: dict):
    """Yields rows with a value at the end that no update gave them.

    An update that was applied twice has made such a value, if values count
    updates.
    """
    restore = history.last_restore(math.inf)
    since = restore.end if restore else -math.inf
    for row in sorted(history.given.keys() | final.keys()):
        found = final.get(row)
        if _index(_last_life(history).get(row, []), found) >= 0:
            continue
        start = history.value_at(row, since)
        if found != start:
            yield (
                f"{row} is {found!r} at the end, and was never given that "
                f"value since the last restore, when it was {start!r}"
            )


def served_rows_were_the_trainers(history: History, unseen: object = None):
    """Yields served values that the trainer did not have by then.

    Args:
        history: The history.
        unseen: Value that is served for an id without a row.
    """
    for event in history.of("served"):
        if event.value in (None, unseen):
            continue
        if _place(history, event) < 0:
            yield (
                f"{event.row} was served as {event.value!r}, which the "
                "trainer had not given it"
            )


def served_rows_never_go_back(history: History):
    """Yields served values that are older than one served before.

    By one instance: a server that restarts begins at its export again. A read
    that overlaps another may see the older state.
    """
    seen = collections.defaultdict(list)
    for event in history.of("served"):
        position = _place(history, event)
        if event.value is None or position < 0:
            continue
        key = (event.row, event.instance)
        if any(
            end < event.begin and other > position for end, other in seen[key]
        ):
            yield (
                f"{event.row} was served as {event.value!r} by "
                f"{event.instance or 'the server'} after a later value"
            )
        seen[key].append((event.end, position))


def cuts_never_go_back(history: History):
    """Yields cuts of a shard that are not above the one before."""
    last = {}
    for event in history.of("cut"):
        key = (event.generation, event.shard)
        if event.cut < last.get(key, -math.inf):
            yield (
                f"shard {event.shard} was at cut {event.cut} after "
                f"{last[key]}, in generation {event.generation}"
            )
        last[key] = event.cut


def no_live_id_is_dead_in_serving(history: History, seconds: float):
    """Yields reads that found no row of an id that had one for long.

    Args:
        history: The history.
        seconds: How long an id may be live in the trainer and dead in serving.
            Time during a fault, and before the first delivery after it, does
            not count.
    """
    quiet = _quiet_since(history)
    for event in history.of("served"):
        if event.value is not None:
            continue
        since = quiet(event.begin)
        if since is None:
            continue
        start = max(since, event.begin - seconds)
        if event.begin - start < seconds:
            continue
        if _always_live(history, event.row, start, event.end):
            yield (
                f"{event.row} was dead in serving at {event.begin:.3f}, and "
                f"had been live in the trainer for {seconds} s"
            )


def delivered_is_equal(history: History):
    """Yields reads after a delivery that are older than what it reported."""
    deliveries = collections.defaultdict(list)
    for event in history.of("delivered"):
        deliveries[event.instance].append(event)
    for event in history.of("served"):
        before = deliveries[event.instance]
        index = bisect.bisect_left([e.end for e in before], event.begin)
        if not index:
            continue
        delivered = before[index - 1]
        expected = history.value_at(event.row, delivered.begin)
        allowed = [expected] + [
            given.value
            for given in history.given[event.row]
            if given.end > delivered.begin and given.begin <= event.end
        ]
        if event.value not in allowed:
            yield (
                f"{event.row} was served as {event.value!r} after a delivery "
                f"that had {expected!r}"
            )


def check(history: History, *rules: Rule) -> list[str]:
    """Returns what breaks a rule, in words."""
    return [
        f"{getattr(rule, '__name__', rule)}: {found}"
        for rule in rules
        for found in rule(history)
    ]


def check_delivery(
    path: os.PathLike, rows: dict, dead_seconds: float = math.inf
) -> list[str]:
    """Checks a history of updates and deliveries by all rules.

    Args:
        path: File of the history.
        rows: Table -> value of the trainer at the end by id, from 0.
        dead_seconds: See `no_live_id_is_dead_in_serving`.

    Returns:
        What breaks a rule, in words.
    """
    final = {
        (table, one): comparable(value)
        for table, values in rows.items()
        for one, value in enumerate(values)
    }
    return check(
        History(read(path)),
        _with(no_update_is_lost, final=final),
        _with(rows_are_what_updates_made_them, final=final),
        served_rows_were_the_trainers,
        served_rows_never_go_back,
        cuts_never_go_back,
        _with(no_live_id_is_dead_in_serving, seconds=dead_seconds),
        delivered_is_equal,
    )


def _with(rule: Callable, **arguments) -> Rule:
    return functools.update_wrapper(functools.partial(rule, **arguments), rule)


def _index(events: list[Event], value) -> int:
    """Last position of a value, -1 if it is not there."""
    found = -1
    for position, event in enumerate(events):
        if event.value == value:
            found = position
    return found


def _last_life(history: History) -> dict:
    """Row -> updates since the last restore."""
    restore = history.last_restore(math.inf)
    since = restore.end if restore else -math.inf
    return {
        row: [event for event in events if event.end > since]
        for row, events in history.given.items()
    }


def _place(history: History, served: Event) -> int:
    """Position of a served value among those that were given by then."""
    by_then = [e for e in history.given[served.row] if e.begin <= served.end]
    return _index(by_then, served.value)


def _quiet_since(history: History):
    """Returns a function: when deliveries have been good since, or None."""
    faults = [(e.begin, e.end) for e in history.of("faulty")]
    deliveries = [event.end for event in history.of("delivered")]

    def since(moment: float) -> float | None:
        start = -math.inf
        for begin, end in faults:
            if begin <= moment <= end:
                return None
            if end < moment:
                start = max(start, end)
        index = bisect.bisect_left(deliveries, start)
        if index == len(deliveries) or deliveries[index] > moment:
            return None
        return deliveries[index]

    return since


def _always_live(history: History, row, begin: float, end: float) -> bool:
    if history.value_at(row, begin) is None:
        return False
    if history.last_restore(begin) is not history.last_restore(end):
        return False
    return all(
        given.value is not None
        for given in history.given[row]
        if given.end >= begin and given.begin <= end
    )
