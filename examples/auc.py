"""Area under the ROC curve, exact, from ranks."""

from __future__ import annotations

import numpy as np


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Returns the share of pairs in which the positive scores higher.

    The Mann-Whitney statistic over all pairs of a positive and a negative; a
    pair of equal scores counts one half.

    Args:
        labels: `[n]`, 1 (or True) for positives, 0 for negatives.
        scores: float `[n]`, none of them NaN.

    Returns:
        A number from 0 to 1; NaN if a class is missing.

    Raises:
        ValueError: If the lengths differ or a score is NaN.

    Example:
    >>> auc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    0.75
    """
    labels = np.asarray(labels, bool)
    scores = np.asarray(scores)
    if labels.shape != scores.shape or labels.ndim != 1:
        raise ValueError(
            "auc needs one label and one score an example. Received: shapes "
            f"{labels.shape} and {scores.shape}."
        )
    if np.isnan(scores).any():
        raise ValueError(
            f"auc cannot rank NaN. Received: {int(np.isnan(scores).sum())} of "
            f"{len(scores)} scores are NaN."
        )
    num_positives = int(labels.sum())
    num_negatives = len(labels) - num_positives
    if not num_positives or not num_negatives:
        return float("nan")
    _, group, counts = np.unique(
        scores, return_inverse=True, return_counts=True
    )
    # Equal scores share the mean of their ranks in 1 ... n.
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    wins = mean_rank[group][labels].sum()
    wins -= num_positives * (num_positives + 1) / 2
    return float(wins / (num_positives * num_negatives))
