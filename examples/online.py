"""The online half: serves a chunk, then trains on it, and times changes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import numpy as np
from freshness import draw_probes
from freshness import wait_until_shown
from served import Server
from trainer import Trainer

from monolith_tf import data
from monolith_tf import serving

# A third of the chunks is probed, so that most are scored while deltas flow.
_PROBED = 1 / 3


@dataclasses.dataclass(frozen=True)
class OnlineResult:
    """Measurements of the online half.

    Attributes:
        live: float32 `[n]`, scores of the live server, each before the trainer
            saw the label.
        frozen: float32 `[n]`, scores of the frozen copy for the same requests.
        freshness_seconds: float64 `[m]`, for each probed row the time from the
            end of the step that changed it to the reply that showed it.
        num_new_rows: How many of the probed rows are of ids that the batch half
            does not have.
        seconds: Time of scoring and training, without the probes.
    """

    live: np.ndarray
    frozen: np.ndarray
    freshness_seconds: np.ndarray
    num_new_rows: int
    seconds: float


def learn_online(
    trainer: Trainer,
    live: Server,
    frozen: Server,
    pusher: serving.DeltaPusher,
    past: data.Ratings,
    stream: data.Ratings,
    *,
    chunk: int,
    freshness_rows: int,
    seed: int,
    on_progress: Callable[[int], None],
) -> OnlineResult:
    """Scores each chunk through both servers, then trains on it.

    Args:
        trainer: Trainer of the model.
        live: Server that receives deltas.
        frozen: Server of the unchanged copy.
        pusher: A started pusher.
        past: The batch half.
        stream: The online half.
        chunk: Examples a chunk.
        freshness_rows: How many changed rows to time.
        seed: Seed of which.
        on_progress: Called with the size of each chunk that is done.

    Returns:
        The result.

    Raises:
        DeliveryError: If deltas cannot be delivered.
        TimeoutError: If a change does not show in time.
    """
    rng = np.random.default_rng(seed)
    known = {name: np.unique(ids) for name, ids in past.features().items()}
    starts = range(0, len(stream), chunk)
    num_probed = max(1, round(_PROBED * len(starts)))
    probed = set(rng.choice(starts, num_probed, replace=False).tolist())
    live_scores, frozen_scores, freshness, num_new = [], [], [], 0
    # Traces the trainer's prediction before the timing starts.
    trainer.predict(past[:chunk].features())
    begin = time.monotonic()
    probing_seconds = 0.0
    for start in starts:
        ratings = stream[start : start + chunk]
        features = ratings.features()
        live_scores.append(live.score(features))
        frozen_scores.append(frozen.score(features))
        ended = trainer.train(ratings)
        pusher.check()
        if start in probed:
            probing = time.monotonic()
            trained = trainer.predict(features)
            missing = freshness_rows - len(freshness)
            probes = draw_probes(
                rng,
                features,
                data.GENRE_PADDING_ID,
                ended,
                live_scores[-1],
                trained,
                # Spread over the remaining chunks with probes.
                -(-missing // num_probed),
            )
            num_probed -= 1
            if probes:
                examples = [probe.example for probe in probes]
                request = {
                    name: ids[examples] for name, ids in features.items()
                }
                shown = wait_until_shown(
                    lambda request=request: live.score(request),
                    trained[examples],
                )
                freshness.extend(
                    shown - np.array([probe.ended for probe in probes])
                )
                num_new += sum(
                    not np.isin(probe.row_id, known[probe.feature])
                    for probe in probes
                )
            probing_seconds += time.monotonic() - probing
        on_progress(len(ratings))
    return OnlineResult(
        live=np.concatenate(live_scores),
        frozen=np.concatenate(frozen_scores),
        freshness_seconds=np.array(freshness),
        num_new_rows=num_new,
        seconds=time.monotonic() - begin - probing_seconds,
    )
