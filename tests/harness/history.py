"""A history of a delivery, and rules that every history must obey.

Trainers, servers' clients and tests append events while a run goes on. The
rules then find what a comparison at the end cannot: a row that was wrong only
for a while, or an acknowledgement that came too early.

The value of a row is anything that can be compared, and the trainer never gives
an id the same value twice. Times are of the monotonic clock, which processes of
one machine share. An event has the time before and after what it records.

    attempted     the trainer is about to give an id a value
    applied       it has done so; the value None removes the row
    acknowledged  the trainer was told that its update of an id was applied
    cut           a shard reached a cut
    snapshotted   a snapshot of this name is complete
    restored      the trainer continues from a snapshot, or from nothing
    delivered     the pusher reported all that was there before as delivered
    served        a client read an id's value; None if it was dead
    faulty        a fault was there from begin to end
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
import json
import math
import os
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator

KINDS = (
    *("attempted", "applied", "acknowledged", "cut", "snapshotted", "restored"),
    *("delivered", "served", "faulty"),
)


@dataclasses.dataclass(frozen=True)
class Event:
    """One line of a history.

    Args:
        kind: One of `KINDS`.
        begin: Time before it began.
        end: Time when it was known to be done.
        table: Table of the id.
        id: The id.
        value: Value of its row, None for no row.
        shard: Shard of the cut.
        cut: The cut.
        generation: Generation of the trainer's tables.
        snapshot: Name of the snapshot.
        instance: Life and version of the model server that answered.
        what: The fault.
    """

    kind: str
    begin: float
    end: float
    table: str = ""
    id: int = 0
    value: object = None
    shard: int = 0
    cut: int = 0
    generation: int = 0
    snapshot: str = ""
    instance: str = ""
    what: str = ""

    def __post_init__(self):
        """Checks kind and times."""
        if self.kind not in KINDS:
            raise ValueError(
                f"An event's kind must be one of {KINDS}. Received: "
                f"{self.kind!r}."
            )
        if not self.begin <= self.end:
            raise ValueError(
                f"An event must not end before it begins. Received: begin="
                f"{self.begin}, end={self.end}."
            )

    @property
    def row(self) -> tuple[str, int]:
        """Table and id."""
        return self.table, self.id


class Recorder:
    """Appends events to a file that several processes may share.

    Args:
        path: The file; created.
        clock: Returns seconds.
    """

    def __init__(self, path: os.PathLike, clock=time.monotonic):
        """Opens the file."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._file = os.open(path, flags, 0o644)
        self.clock = clock

    def record(self, kind: str, begin: float | None = None, **fields) -> None:
        """Appends an event that ends now.

        Args:
            kind: One of `KINDS`.
            begin: When it began; None for now.
            **fields: The other fields of `Event`.
        """
        now = self.clock()
        event = Event(kind, now if begin is None else begin, now, **fields)
        self.append([event])

    def append(self, events: Iterable[Event]) -> None:
        """Appends events at once: a kill loses all of them or none."""
        lines = [
            json.dumps(
                {
                    key: value
                    for key, value in dataclasses.asdict(event).items()
                    if value != DEFAULTS.get(key, ())
                }
            )
            for event in events
        ]
        os.write(self._file, "".join(line + "\n" for line in lines).encode())

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)


DEFAULTS = {
    field.name: field.default
    for field in dataclasses.fields(Event)
    if field.default is not dataclasses.MISSING
}


def read(path: os.PathLike) -> list[Event]:
    """Returns the events of a file, by the time they were done."""
    with open(path, encoding="utf-8") as file:
        events = [Event(**json.loads(line)) for line in file]
    return sorted(events, key=lambda event: event.end)


class History:
    """Events in order, and what the rules need of them.

    Args:
        events: In any order.

    Attributes:
        given: By row, all updates, in order. One that was attempted and is not
            known to be applied ends with the life of the trainer.
    """

    def __init__(self, events: Iterable[Event]):
        """Sorts the events."""
        self.events = sorted(events, key=lambda event: event.end)
        self._restores = list(self.of("restored"))
        self._snapshots = {e.snapshot: e for e in self.of("snapshotted")}
        done = {(e.row, e.value) for e in self.of("applied")}
        self.given = collections.defaultdict(list)
        for event in self.of("attempted", "applied"):
            if event.kind == "applied":
                self.given[event.row].append(event)
            elif (event.row, event.value) not in done:
                end = self._end_of_life(event.begin)
                self.given[event.row].append(
                    dataclasses.replace(event, end=end)
                )
        for events in self.given.values():
            events.sort(key=lambda event: event.begin)

    def of(self, *kinds: str) -> Iterator[Event]:
        """Yields the events of some kinds."""
        return (event for event in self.events if event.kind in kinds)

    def last_restore(self, moment: float) -> Event | None:
        """Returns the last restore that was done by then."""
        ends = [event.end for event in self._restores]
        index = bisect.bisect_right(ends, moment)
        return self._restores[index - 1] if index else None

    def value_at(self, row, moment: float):
        """Returns the trainer's value of a row after the updates done by then.

        None is no row.
        """
        restore = self.last_restore(moment)
        since = restore.end if restore else -math.inf
        for event in reversed(self.given[row]):
            if since < event.end <= moment and event.kind == "applied":
                return event.value
        if restore is None or not restore.snapshot:
            return None
        saved = self._snapshots[restore.snapshot]
        return self.value_at(row, saved.begin)

    def _end_of_life(self, moment: float) -> float:
        return min(
            (e.end for e in self._restores if e.end > moment), default=math.inf
        )


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
