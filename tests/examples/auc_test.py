"""Tests of the area under the ROC curve."""

import math

import numpy as np
import pytest


@pytest.fixture
def auc(monkeypatch, repository_root):
    monkeypatch.syspath_prepend(str(repository_root / "examples"))
    from auc import auc

    return auc


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [
        ([0, 1], [0.1, 0.2], 1.0),
        ([1, 0], [0.1, 0.2], 0.0),
        ([1, 0], [0.5, 0.5], 0.5),
        # Positives 0.35 and 0.8 win 1 and 2 of their 2 pairs.
        ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.75),
        # One win, one tie, two losses: 1.5 of 4 pairs.
        ([0, 1, 0, 1], [0.5, 0.5, 0.9, 0.6], 0.375),
        ([1, 0, 1, 0], [7, 7, 7, 7], 0.5),
    ],
)
def test_hand_counted_pairs(auc, labels, scores, expected):
    assert auc(np.array(labels), np.array(scores)) == expected


def test_it_equals_the_count_over_all_pairs_with_many_ties(auc):
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 300)
    scores = rng.integers(0, 20, 300) / 20
    positives, negatives = scores[labels == 1], scores[labels == 0]
    wins = np.sum(positives[:, None] > negatives[None, :])
    ties = np.sum(positives[:, None] == negatives[None, :])
    expected = (wins + ties / 2) / (len(positives) * len(negatives))
    assert auc(labels, scores) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("labels", [[], [1, 1], [0, 0]])
def test_a_missing_class_gives_nan(auc, labels):
    assert math.isnan(auc(np.array(labels), np.zeros(len(labels))))


def test_scores_that_cannot_be_ranked_are_refused(auc):
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        auc(np.array([0, 1]), np.array([0.5, np.nan]))


def test_lengths_that_differ_are_refused(auc):
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(3,\)"):
        auc(np.array([0, 1]), np.array([0.5, 0.1, 0.2]))
