"""Tests of how the demo times changed rows, and of its report."""

import json

import numpy as np
import pytest


@pytest.fixture
def freshness(monkeypatch, repository_root):
    monkeypatch.syspath_prepend(str(repository_root / "examples"))
    import freshness

    return freshness


@pytest.fixture
def report(monkeypatch, repository_root):
    monkeypatch.syspath_prepend(str(repository_root / "examples"))
    import report

    return report


FEATURES = {
    "user_id": np.array([5, 5, 6]),
    "genres": np.array([[5, 0], [7, 5], [0, 0]]),
}
ENDED = np.array([10.0, 20.0, 30.0])
UNCHANGED = np.zeros(3, np.float32)
CHANGED = np.full(3, 0.5, np.float32)


def draw(freshness, count=100, served=UNCHANGED, trained=CHANGED):
    return freshness.draw_probes(
        np.random.default_rng(1), FEATURES, 0, ENDED, served, trained, count
    )


def test_every_changed_row_can_be_drawn_once_and_padding_never(freshness):
    rows = [(probe.feature, probe.row_id) for probe in draw(freshness)]
    assert sorted(rows) == [
        ("genres", 5),
        ("genres", 7),
        ("user_id", 5),
        ("user_id", 6),
    ]


def test_a_row_is_timed_from_the_last_step_that_changed_it(freshness):
    ended = {
        (probe.feature, probe.row_id): probe.ended for probe in draw(freshness)
    }
    assert ended == {
        ("genres", 5): 20.0,
        ("genres", 7): 20.0,
        ("user_id", 5): 20.0,
        ("user_id", 6): 30.0,
    }


def test_a_probe_reads_the_row(freshness):
    for probe in draw(freshness):
        ids = FEATURES[probe.feature][probe.example]
        assert probe.row_id in np.ravel(ids)


def test_a_row_whose_prediction_did_not_move_is_not_drawn(freshness):
    trained = np.array([0.0, 0.0, 0.5], np.float32)
    (probe,) = draw(freshness, trained=trained)
    assert (probe.feature, probe.row_id, probe.example) == ("user_id", 6, 2)


def test_no_more_rows_are_drawn_than_asked_for(freshness):
    assert len(draw(freshness, count=2)) == 2
    assert draw(freshness, count=0) == []


def test_each_prediction_is_timed_when_it_first_shows(freshness):
    expected = np.array([0.25, 0.5], np.float32)
    replies = iter([[0.0, 0.0], [0.25, 0.0], [0.0, 0.5]])
    shown = freshness.wait_until_shown(
        lambda: np.array(next(replies), np.float32), expected
    )
    assert shown[0] <= shown[1]
    assert next(replies, None) is None


def test_a_prediction_that_never_shows_is_reported(freshness):
    with pytest.raises(TimeoutError, match="1 of 2 served predictions"):
        freshness.wait_until_shown(
            lambda: np.array([0.25, 0.0], np.float32),
            np.array([0.25, 0.5], np.float32),
            timeout_seconds=0.0,
        )


def test_a_number_that_is_missing_is_null_in_the_report(report):
    line = report.to_json_line({"auc": {"live": float("nan")}, "rows": 3})
    assert "\n" not in line
    assert json.loads(line) == {"auc": {"live": None}, "rows": 3}
