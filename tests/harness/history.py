"""A history of a delivery: who did what, and when.

Trainers, clients of servers and tests append events while a run goes on. The
rules of `history_rules` then find what a comparison at the end cannot: a row
that was wrong only for a while, or an acknowledgement that came too early.

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

    def update(self, table: str, ids, values: list, change) -> None:
        """Updates rows, and records the attempt and the end.

        Args:
            table: Table of the rows.
            ids: Their ids.
            values: The new value of each, None for a removal.
            change: Function that updates them.
        """
        begin = self.clock()
        self._record_rows(("attempted",), begin, table, ids, values)
        change()
        self._record_rows(
            ("applied", "acknowledged"), begin, table, ids, values
        )

    def served(
        self, begin: float, table: str, ids, values: list, instance: str
    ) -> None:
        """Records what a client has read since `begin`."""
        self._record_rows(("served",), begin, table, ids, values, instance)

    def _record_rows(
        self, kinds, begin, table, ids, values, instance: str = ""
    ) -> None:
        end = self.clock()
        self.append(
            Event(
                kind,
                begin,
                end,
                table=table,
                id=int(one),
                value=value,
                instance=instance,
            )
            for kind in kinds
            for one, value in zip(ids, values, strict=True)
        )

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
        found = [json.loads(line) for line in file]
    return sorted(
        (
            Event(**{**one, "value": comparable(one.get("value"))})
            for one in found
        ),
        key=lambda event: event.end,
    )


def comparable(value):
    """Returns a value as `read` returns it: a tuple for a list."""
    return tuple(value) if isinstance(value, list) else value


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
