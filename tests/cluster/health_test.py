"""The states of a role, from observations at given times."""

import pytest

from monolith_tf.cluster.health import Health
from monolith_tf.cluster.health import HealthRules
from monolith_tf.cluster.probe import Answer
from monolith_tf.cluster.process_state import ProcessState

PROMPT = Answer("answers", 0.01)
LATE = Answer("answers", 3.0)
GREETS = Answer("greets", 1.0)
SILENT = Answer("silent", 4.0, "nothing answers")
REFUSES = Answer("refuses", 0.01, "refused")
UNREACHABLE = Answer("unreachable", 4.0, "no route")


def process(state, ticks=0):
    return ProcessState(state, ticks)


@pytest.fixture
def rules():
    return HealthRules(timeout_seconds=5.0, slow_seconds=1.0, begin=0.0)


def states(rules, *observations):
    """States after (time, answer) or (time, answer, process), in order."""
    return [
        rules.observe(now, answer, *(rest or (None,)))
        for now, answer, *rest in observations
    ]


def test_a_role_starts_until_its_port_is_open(rules):
    assert states(
        rules, (1, REFUSES), (100, REFUSES), (200, UNREACHABLE), (300, PROMPT)
    ) == ["starting", "starting", "starting", "alive"]


@pytest.mark.parametrize(
    ("answer", "state"),
    [(REFUSES, "dead"), (SILENT, "hung"), (UNREACHABLE, "partitioned")],
)
def test_a_role_is_down_once_it_is_silent_for_the_time_out(
    rules, answer, state
):
    assert states(
        rules, (1, PROMPT), (2, answer), (5.9, answer), (6, answer)
    ) == ["alive", "alive", "alive", state]
    assert rules.reason == answer.detail
    assert rules.silent_seconds(7.5) == 6.5


def test_a_role_that_is_down_may_fail_in_another_way_and_comes_back(rules):
    assert states(
        rules, (1, PROMPT), (6, SILENT), (7, REFUSES), (8, PROMPT), (9, PROMPT)
    ) == ["alive", "hung", "dead", "alive", "alive"]
    assert rules.reason == ""


def test_a_port_that_is_silent_from_the_start_is_hung_after_the_time_out(rules):
    assert states(
        rules, (1, REFUSES), (50, SILENT), (54.9, SILENT), (55, SILENT)
    ) == ["starting", "alive", "alive", "hung"]


@pytest.mark.parametrize("answer", [LATE, GREETS])
def test_a_role_is_slow_if_all_answers_of_the_time_out_are_late(rules, answer):
    assert states(
        rules, (1, PROMPT), (2, answer), (5.9, answer), (6, answer), (7, PROMPT)
    ) == ["alive", "alive", "alive", "slow", "alive"]


def test_a_slow_role_is_not_down_however_long(rules):
    found = states(rules, (1, PROMPT), *((6 + 4 * n, LATE) for n in range(99)))
    assert set(found[1:]) == {"slow"}


def test_a_time_in_which_nobody_looked_does_not_count(rules):
    states(rules, (1, PROMPT))
    rules.forgive(600.0)
    assert states(rules, (602, SILENT), (605.9, SILENT), (606, SILENT)) == [
        "alive",
        "alive",
        "hung",
    ]


def test_a_stopped_process_is_hung_after_the_time_out(rules):
    stopped = process("stopped", 7)
    assert states(
        rules,
        (1, PROMPT, process("sleeping", 7)),
        (5.9, SILENT, stopped),
        (6, SILENT, stopped),
        (7, PROMPT, process("sleeping", 8)),
    ) == ["alive", "alive", "hung", "alive"]


def test_a_process_that_is_stopped_while_it_starts_is_hung(rules):
    assert states(
        rules,
        (1, REFUSES, process("running", 1)),
        (5.9, REFUSES, process("stopped", 1)),
        (6, REFUSES, process("stopped", 1)),
    ) == ["starting", "starting", "hung"]
    assert rules.reason == "its process is stopped"


def test_a_process_blocked_in_the_kernel_is_hung_if_its_time_stands(rules):
    assert states(
        rules,
        (1, PROMPT, process("sleeping", 5)),
        (6, SILENT, process("blocked", 6)),
        (10.9, SILENT, process("blocked", 6)),
        (11, SILENT, process("blocked", 6)),
    ) == ["alive", "slow", "slow", "hung"]
    assert rules.reason == "its process is blocked in the kernel"


def test_an_import_that_waits_for_a_disk_is_not_hung(rules):
    assert states(
        rules,
        (1, REFUSES, process("blocked", 5)),
        (60, REFUSES, process("blocked", 5)),
        (61, PROMPT, process("sleeping", 6)),
    ) == ["starting", "starting", "alive"]


def test_a_silent_process_that_uses_its_processor_gets_longer(rules):
    found = states(
        rules,
        (1, PROMPT, process("sleeping", 0)),
        *((n, SILENT, process("sleeping", n)) for n in range(2, 62)),
    )
    assert found[:5] == ["alive"] * 5
    assert set(found[5:60]) == {"slow"}
    assert found[60] == "hung"


def test_a_process_that_waits_for_a_processor_is_slow(rules):
    """A loaded machine may not run it for the whole time-out."""
    assert states(
        rules,
        (1, PROMPT, process("sleeping", 5)),
        (6, SILENT, process("running", 5)),
        (11, UNREACHABLE, process("running", 5)),
        (12, PROMPT, process("running", 6)),
    ) == ["alive", "slow", "slow", "alive"]


def test_a_process_that_sleeps_and_does_not_answer_is_hung(rules):
    assert states(
        rules,
        (1, PROMPT, process("sleeping", 5)),
        (5.9, SILENT, process("sleeping", 5)),
        (6, SILENT, process("sleeping", 5)),
    ) == ["alive", "alive", "hung"]


def test_a_process_that_closed_its_port_is_judged_by_itself(rules):
    """A chief may end its server before it ends."""
    assert states(
        rules,
        (1, PROMPT, process("sleeping", 5)),
        (60, REFUSES, process("sleeping", 5)),
        (61, REFUSES, process("stopped", 5)),
        (65, REFUSES, process("stopped", 5)),
        (66, REFUSES, process("stopped", 5)),
    ) == ["alive", "alive", "alive", "hung", "hung"]


def test_a_process_without_a_server_is_judged_by_itself(rules):
    assert states(
        rules,
        (1, None, process("sleeping", 5)),
        (90, None, process("sleeping", 5)),
        (91, None, process("stopped", 5)),
        (95, None, process("stopped", 5)),
        (96, None, process("running", 6)),
        (97, None, process("gone")),
    ) == ["alive", "alive", "alive", "hung", "alive", "dead"]


@pytest.mark.parametrize(
    ("health", "text"),
    [
        (
            Health("ps 0", "host:1", None, "partitioned", 5.04, "no route", 12),
            "ps 0 at host:1 is partitioned, no route; last answer 5.0 s ago; "
            "last known step 12",
        ),
        (
            Health("chief 0", None, 7, "hung", 6.0, "its process is stopped"),
            "chief 0 (process 7) is hung, its process is stopped; last answer "
            "6.0 s ago",
        ),
        (Health("ps 0", "h:1", state="alive"), "ps 0 at h:1 is alive"),
    ],
)
def test_one_line_says_what_is_known(health, text):
    assert str(health) == text
