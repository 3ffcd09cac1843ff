"""Flags of the benchmarks that train the model of `deepfm.py`."""

from __future__ import annotations

import common
import deepfm
import numpy as np
from absl import flags

_FEATURES = flags.DEFINE_integer(
    "features", 26, "Ids an example.", lower_bound=1
)
_IDS = flags.DEFINE_integer(
    "ids", 100_000, "Different ids of a feature.", lower_bound=1
)
_ZIPF = flags.DEFINE_float(
    "zipf", 1.05, "Exponent of how often ids come; 0 for all alike."
)
_DIM = flags.DEFINE_integer("dim", 16, "Floats of a row.", lower_bound=2)
_HIDDEN = flags.DEFINE_list("hidden", ["128", "64"], "Units of the deep part.")
BATCH = flags.DEFINE_integer("batch", 4096, "Examples a batch.", lower_bound=1)
BATCHES = flags.DEFINE_integer(
    "batches", 50, "Different batches.", lower_bound=1
)
STEPS = flags.DEFINE_integer("steps", 50, "Batches an epoch.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 1, "Of ids and labels.")


def sizes() -> dict:
    """Returns how large the model is, as arguments of `deepfm.DeepFM`."""
    return {
        "features": _FEATURES.value,
        "ids": _IDS.value,
        "dim": _DIM.value,
        "hidden": tuple(int(units) for units in _HIDDEN.value),
    }


def make_batches() -> tuple[np.ndarray, np.ndarray]:
    """Draws the batches.

    Returns:
        int64 `[batches, batch, features]`, ids of each feature counted from 0,
        and labels, float32 `[batches, batch, 1]`.
    """
    random = np.random.default_rng(_SEED.value)
    shape = (BATCHES.value, BATCH.value, _FEATURES.value)
    numbers = common.zipf(random, _IDS.value, _ZIPF.value, shape)
    labels = random.integers(0, 2, (*shape[:2], 1))
    return numbers, labels.astype(np.float32)


def record() -> dict:
    """Returns the flags and their values."""
    return {
        **sizes(),
        **{flag.name: flag.value for flag in (_ZIPF, BATCH, BATCHES)},
        **{flag.name: flag.value for flag in (STEPS, _SEED)},
    }


def model(**options) -> deepfm.DeepFM:
    """Returns the model that the flags ask for.

    Args:
        **options: Other arguments of `deepfm.DeepFM`.
    """
    return deepfm.DeepFM(**sizes(), **options)
