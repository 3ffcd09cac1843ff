"""Each rule accepts good histories and finds the fault of bad ones."""

from __future__ import annotations

import functools
import re

import history as history_lib
import history_rules
import pytest
from history import Event
from history import History

ROW = ("", 7)


def event(kind, moment, duration=0.0, **fields):
    return Event(kind, moment, moment + duration, **fields)


def applied(moment, value, **fields):
    return event("applied", moment, id=7, value=value, **fields)


def acknowledged(moment, value):
    return event("acknowledged", moment, id=7, value=value)


def served(moment, value, instance="s1", **fields):
    return event(
        "served", moment, id=7, value=value, instance=instance, **fields
    )


def delivered(moment, instance="s1"):
    return event("delivered", moment, instance=instance)


def found(rule, *events):
    return list(rule(History(events)))


# --- No acknowledged update is lost -----------------------------------------


def lost(*events, final, bound=0):
    rule = functools.partial(
        history_rules.no_update_is_lost, final={ROW: final}, bound=bound
    )
    return found(rule, *events)


def test_an_update_that_is_there_at_the_end_is_not_lost():
    assert not lost(applied(1, 1), acknowledged(1, 1), final=1)


def test_an_acknowledged_update_that_is_gone_is_lost():
    events = [applied(1, 1), applied(2, 2), acknowledged(2, 2)]
    assert re.search("update to 2 is lost", *lost(*events, final=1))
    assert lost(*events, final=None)


def test_an_update_that_was_not_acknowledged_may_be_gone():
    assert not lost(applied(1, 1), applied(2, 2), final=1)


def test_as_many_updates_as_the_bound_says_may_be_lost():
    events = [applied(1, 1), applied(2, 2)]
    events += [acknowledged(1, 1), acknowledged(2, 2)]
    assert not lost(*events, final=None, bound=2)
    assert lost(*events, final=None, bound=1)


def test_a_restore_takes_back_what_came_after_its_snapshot():
    events = [
        applied(1, 1),
        event("snapshotted", 2, snapshot="a"),
        applied(3, 3),
        acknowledged(3, 3),
        event("restored", 4, snapshot="a"),
    ]
    assert not lost(*events, final=1)


# --- None is applied twice --------------------------------------------------


def not_made(*events, final):
    rule = functools.partial(
        history_rules.rows_are_what_updates_made_them, final={ROW: final}
    )
    return found(rule, *events)


def test_a_row_has_a_value_that_an_update_gave_it():
    assert not not_made(applied(1, 1), applied(2, 2), final=2)


def test_a_value_that_no_update_gave_is_one_too_many():
    assert re.search(
        "is 3 at the end, and was never", *not_made(applied(1, 1), final=3)
    )


def test_after_a_restore_a_row_has_the_value_of_the_snapshot():
    events = [
        applied(1, 1),
        event("snapshotted", 2, snapshot="a"),
        applied(3, 3),
        event("restored", 4, snapshot="a"),
    ]
    assert not not_made(*events, final=1)
    assert not_made(*events, final=3)
    assert not_made(*events, final=None)


def test_a_restore_of_nothing_leaves_no_row():
    events = [applied(1, 1), event("restored", 4)]
    assert not not_made(*events, final=None)
    assert not_made(*events, final=1)


# --- Served rows were once the trainer's ------------------------------------

WERE = history_rules.served_rows_were_the_trainers


def test_a_served_value_was_given_before():
    assert not found(WERE, applied(1, 1), served(2, 1))
    assert not found(WERE, applied(1, 1), served(2, None))


def test_a_served_value_that_was_never_given_is_found():
    assert re.search(
        "served as 2, which", *found(WERE, applied(1, 1), served(2, 2))
    )


def test_a_served_value_that_was_given_later_is_found():
    assert found(WERE, served(1, 1), applied(2, 1))


def test_a_read_during_an_update_may_see_it():
    assert not found(WERE, applied(1, 1, duration=2), served(2, 1))


def test_an_attempt_of_a_trainer_that_died_may_have_been_served():
    attempt = event("attempted", 1, id=7, value=1)
    assert not found(WERE, attempt, served(2, 1), event("restored", 3))


def test_the_value_of_an_unseen_id_may_be_served():
    rule = functools.partial(WERE, unseen=0)
    assert not found(rule, served(1, 0))


# --- Never backwards --------------------------------------------------------

BACK = history_rules.served_rows_never_go_back


def test_served_values_may_repeat_and_skip():
    events = [applied(1, 1), applied(2, 2), applied(3, 3)]
    assert not found(BACK, *events, *(served(4 + i, 2) for i in range(2)))
    assert not found(BACK, *events, served(4, 1), served(5, 3))


def test_a_served_value_older_than_one_before_is_found():
    events = [applied(1, 1), applied(2, 2), served(3, 2), served(4, 1)]
    assert re.search("served as 1 by s1 after a later", *found(BACK, *events))


def test_another_instance_may_begin_earlier():
    events = [applied(1, 1), applied(2, 2), served(3, 2), served(4, 1, "s2")]
    assert not found(BACK, *events)


def test_reads_that_overlap_may_see_either_order():
    events = [applied(1, 1), applied(2, 2)]
    events += [served(3, 2), served(2.5, 1, duration=1)]
    assert not found(BACK, *events)


def test_cuts_of_a_shard_only_rise():
    def cut(moment, number, **fields):
        return event("cut", moment, cut=number, **fields)

    rule = history_rules.cuts_never_go_back
    assert not found(rule, cut(1, 1), cut(2, 2), cut(3, 2))
    assert not found(rule, cut(1, 5), cut(2, 1, shard=1))
    assert not found(rule, cut(1, 5), cut(2, 1, generation=2))
    assert re.search("at cut 1 after 5", *found(rule, cut(1, 5), cut(2, 1)))


# --- No live id is dead in serving ------------------------------------------

DEAD = functools.partial(history_rules.no_live_id_is_dead_in_serving, seconds=5)


def test_an_id_may_be_dead_for_a_while():
    events = [delivered(0), applied(1, 1), served(5, None)]
    assert not found(DEAD, *events)


def test_an_id_that_is_dead_for_longer_is_found():
    events = [delivered(0), applied(1, 1), served(7, None)]
    assert re.search(
        "had been live in the trainer for 5", *found(DEAD, *events)
    )


def test_an_id_that_was_removed_meanwhile_may_be_dead():
    events = [delivered(0), applied(1, 1), applied(4, None), applied(5, 2)]
    assert not found(DEAD, *events, served(7, None))


def test_a_fault_stops_the_time_until_the_next_delivery():
    events = [delivered(0), applied(1, 1)]
    fault = event("faulty", 2, duration=10)
    assert not found(DEAD, *events, fault, served(11, None))
    assert not found(DEAD, *events, fault, served(30, None))
    assert not found(DEAD, *events, fault, delivered(20), served(24, None))
    assert found(DEAD, *events, fault, delivered(20), served(26, None))


# --- Delivered means equal --------------------------------------------------

EQUAL = history_rules.delivered_is_equal


def test_after_a_delivery_a_read_sees_what_was_delivered():
    assert not found(EQUAL, applied(1, 1), delivered(2), served(3, 1))
    assert not found(EQUAL, applied(1, None), delivered(2), served(3, None))


def test_an_older_value_after_a_delivery_is_found():
    events = [applied(1, 1), applied(2, 2), delivered(3), served(4, 1)]
    assert re.search("after a delivery that had 2", *found(EQUAL, *events))
    assert found(EQUAL, applied(1, 1), delivered(2), served(3, None))


def test_a_removed_row_that_is_served_after_a_delivery_is_found():
    events = [applied(1, 1), applied(2, None), delivered(3), served(4, 1)]
    assert found(EQUAL, *events)


def test_a_newer_value_after_a_delivery_is_right():
    events = [applied(1, 1), delivered(2), applied(3, 3), served(4, 3)]
    assert not found(EQUAL, *events)


def test_a_delivery_to_another_instance_promises_nothing():
    events = [applied(1, 1), delivered(2), served(3, None, "s2")]
    assert not found(EQUAL, *events)


def test_after_a_restore_a_delivery_is_of_the_snapshot():
    events = [
        applied(1, 1),
        event("snapshotted", 2, snapshot="a"),
        applied(3, 3),
        event("restored", 4, snapshot="a"),
        delivered(5),
    ]
    assert not found(EQUAL, *events, served(6, 1))
    assert found(EQUAL, *events, served(6, 3))


# --- Files ------------------------------------------------------------------


def test_what_is_recorded_is_read_in_order_of_time(tmp_path):
    clock = iter([3.0, 1.0, 2.0])
    recorder = history_lib.Recorder(tmp_path / "h", clock=lambda: next(clock))
    recorder.record("applied", begin=2.5, id=7, value=[1, 2], table="movie")
    recorder.record("cut", cut=4)
    recorder.record("served", id=7)
    recorder.close()
    cut, read, given = history_lib.read(tmp_path / "h")
    assert given == Event("applied", 2.5, 3.0, "movie", 7, (1, 2))
    assert cut == Event("cut", 1.0, 1.0, cut=4)
    assert read.value is None


def test_check_names_the_rule_that_is_broken():
    events = History([applied(1, 1), served(2, 2)])
    assert history_rules.check(events, BACK, EQUAL) == []
    (found,) = history_rules.check(events, BACK, WERE)
    assert found.startswith("served_rows_were_the_trainers: ('', 7) was served")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("moved", 1, 1), "kind must be one of .* Received: 'moved'"),
        (("cut", 2, 1), "must not end before .* Received: begin=2, end=1"),
    ],
)
def test_an_event_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Event(*arguments)
