"""Draws the AUC of the live and the frozen server over time."""

from __future__ import annotations

import os

import matplotlib
import numpy as np
from auc import auc

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402  After the backend is chosen.

_NUM_WINDOWS = 25
_MIN_WINDOW = 50


def plot_auc(
    path: str | os.PathLike[str],
    label: np.ndarray,
    live: np.ndarray,
    frozen: np.ndarray,
    unseen: np.ndarray,
    title: str,
) -> None:
    """Writes a PNG with the AUC of both servers in successive windows.

    Args:
        path: Where to.
        label: float32 `[n]`, in the order of the stream.
        live: float32 `[n]`, scores of the live server.
        frozen: float32 `[n]`, scores of the frozen copy.
        unseen: bool `[n]`, whether the request has an id that the batch half
            does not have.
        title: Title of the figure.
    """
    figure, axes = pyplot.subplots(
        2, sharex=True, figsize=(8, 7), layout="constrained"
    )
    figure.suptitle(title)
    position = np.arange(1, len(label) + 1)
    for axis, mask, what in (
        (axes[0], np.ones(len(label), bool), "all requests"),
        (axes[1], unseen, "requests with ids unseen in the batch half"),
    ):
        count = int(np.clip(mask.sum() // _MIN_WINDOW, 1, _NUM_WINDOWS))
        windows = np.array_split(np.flatnonzero(mask), count)
        windows = [window for window in windows if len(window)]
        for scores, name, style in (
            (live, "live (deltas)", "o-"),
            (frozen, "frozen copy", "s--"),
        ):
            axis.plot(
                [position[window].mean() for window in windows],
                [auc(label[window], scores[window]) for window in windows],
                style,
                markersize=4,
                label=f"{name}: {auc(label[mask], scores[mask]):.4f}",
            )
        axis.axhline(0.5, color="gray", linewidth=0.5)
        axis.set_title(f"{what} ({int(mask.sum()):,})")
        axis.set_ylabel("AUC in the window")
        axis.legend()
        axis.grid(alpha=0.3)
    axes[1].set_xlabel("ratings served and trained on online")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
