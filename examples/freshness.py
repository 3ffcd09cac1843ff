"""Measures the time until a changed row shows in served predictions."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from collections.abc import Mapping

import numpy as np

# Two programs that add the same float32 numbers in different orders.
_EQUAL = 2e-6
# A row whose step moved its prediction by less than this cannot be timed.
_VISIBLE = 10 * _EQUAL
# Polling without a pause would slow down trainer and server.
_PAUSE_SECONDS = 0.01


@dataclasses.dataclass(frozen=True)
class Probe:
    """A changed row, and a request that reads it.

    Attributes:
        feature: Which feature reads the row.
        row_id: Its id.
        example: Position in the chunk of an example that holds the id.
        ended: When the last step that changed the row ended, in Unix seconds.
    """

    feature: str
    row_id: int
    example: int
    ended: float


def draw_probes(
    rng: np.random.Generator,
    features: Mapping[str, np.ndarray],
    padding_id: int,
    ended: np.ndarray,
    served: np.ndarray,
    trained: np.ndarray,
    count: int,
) -> list[Probe]:
    """Draws changed rows at random, each (feature, id) equally likely.

    Args:
        rng: Random generator.
        features: The examples that were trained on: int64 `[n]` or `[n, g]` by
            name.
        padding_id: The id that is no row.
        ended: float64 `[n]`, when the step of each example ended.
        served: float32 `[n]`, served predictions of the examples before.
        trained: float32 `[n]`, the trainer's own predictions afterwards.
        count: How many rows; fewer if fewer can be timed.

    Returns:
        The probes.
    """
    # Per feature, a column of rows and the examples in which they occur.
    occurrences = []
    for number, ids in enumerate(features.values()):
        matrix = ids.reshape(len(ids), -1)
        example, column = np.nonzero(matrix != padding_id)
        occurrences.append(
            np.stack(
                [
                    np.full(len(example), number),
                    matrix[example, column],
                    example,
                ]
            )
        )
    feature, row_id, example = np.concatenate(occurrences, axis=1)
    rows, row = np.unique(
        np.stack([feature, row_id]), axis=1, return_inverse=True
    )
    row = row.reshape(-1)
    last = np.full(rows.shape[1], -np.inf)
    np.maximum.at(last, row, ended[example])

    visible = np.abs(served - trained) > _VISIBLE
    probes = []
    for index in rng.permutation(rows.shape[1]):
        if len(probes) == count:
            break
        candidates = example[row == index]
        candidates = candidates[visible[candidates]]
        if len(candidates):
            probes.append(
                Probe(
                    feature=list(features)[rows[0, index]],
                    row_id=int(rows[1, index]),
                    example=int(rng.choice(candidates)),
                    ended=float(last[index]),
                )
            )
    return probes


def wait_until_shown(
    predict: Callable[[], np.ndarray],
    expected: np.ndarray,
    timeout_seconds: float = 60.0,
) -> np.ndarray:
    """Polls predictions until each has the expected value.

    Args:
        predict: Returns the served predictions of all probes, float32 `[n]`.
        expected: float32 `[n]`, the trainer's own.
        timeout_seconds: How long to ask.

    Returns:
        float64 `[n]`, Unix seconds of the first reply that showed the change.

    Raises:
        TimeoutError: If a prediction is not what is expected in time.
    """
    shown = np.full(len(expected), np.nan)
    deadline = time.monotonic() + timeout_seconds
    pause = threading.Event()
    while np.isnan(shown).any():
        served = predict()
        now = time.time()
        equal = np.abs(served - expected) <= _EQUAL
        shown[np.isnan(shown) & equal] = now
        if time.monotonic() > deadline:
            waiting = np.isnan(shown)
            raise TimeoutError(
                f"{int(waiting.sum())} of {len(expected)} served predictions "
                f"are not the trainer's after {timeout_seconds:g} s: served "
                f"{served[waiting][:5]}, expected {expected[waiting][:5]}"
            )
        pause.wait(_PAUSE_SECONDS)
    return shown
