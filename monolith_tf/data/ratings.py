"""Movie ratings in time order, as columns."""

from __future__ import annotations

import dataclasses

import numpy as np

GENRE_PADDING_ID = 0
"""Fills `Ratings.genres` after a movie's last genre; no genre has this id."""


@dataclasses.dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings in time order, one NumPy column per field.

    Every source of this package returns this layout, so a model and a training
    loop work with all of them. All columns have the same length `n`.

    Args:
        user_id: int64 `[n]`, the user of the rating. Any int64.
        movie_id: int64 `[n]`, the rated movie. Any int64.
        genres: int64 `[n, g]`, the movie's genres, `GENRE_PADDING_ID` after the
            last one.
        label: float32 `[n]`, 1 where the user liked the movie, else 0.
        timestamp: int64 `[n]`, seconds since the epoch, never decreasing.

    Raises:
        ValueError: A column has another dtype, rank or length, or the
            timestamps decrease.

    Example:
    >>> from monolith_tf.data import generate_traffic
    >>> ratings = generate_traffic(num_examples=100, seed=1)
    >>> first, second = ratings[:50], ratings[50:]
    >>> len(first), bool(first.timestamp[-1] <= second.timestamp[0])
    (50, True)
    """

    user_id: np.ndarray
    movie_id: np.ndarray
    genres: np.ndarray
    label: np.ndarray
    timestamp: np.ndarray

    def __post_init__(self):
        """Rejects columns that do not fit together."""
        expected = {
            "user_id": (np.int64, 1),
            "movie_id": (np.int64, 1),
            "genres": (np.int64, 2),
            "label": (np.float32, 1),
            "timestamp": (np.int64, 1),
        }
        for name, (dtype, rank) in expected.items():
            column = getattr(self, name)
            if column.dtype != dtype or column.ndim != rank:
                raise ValueError(
                    f"Ratings.{name} must be {np.dtype(dtype).name} of rank "
                    f"{rank}. Received: {column.dtype.name} "
                    f"{column.shape}. "
                    "Convert it with numpy.asarray(column, dtype)."
                )
            if len(column) != len(self.user_id):
                raise ValueError(
                    f"Ratings.{name} must have one entry per rating, as "
                    f"user_id has: {len(self.user_id)}. Received: "
                    f"{len(column)} entries."
                )
        if np.any(np.diff(self.timestamp) < 0):
            raise ValueError(
                "Ratings.timestamp decreases at entry "
                f"{int(np.argmax(np.diff(self.timestamp) < 0)) + 1}. Sort all "
                "columns by time, with kind='stable'."
            )

    def __len__(self) -> int:
        """Returns the number of ratings."""
        return len(self.user_id)

    def __getitem__(self, part: slice) -> Ratings:
        """Returns the ratings of a slice, in the same order, without a copy."""
        if not isinstance(part, slice) or part.step not in (None, 1):
            raise TypeError(
                "Ratings take a slice of consecutive ratings. Received: "
                f"{part!r}. Use ratings[start:stop], or index a column."
            )
        return Ratings(
            **{
                field.name: getattr(self, field.name)[part]
                for field in dataclasses.fields(self)
            }
        )

    def features(self) -> dict[str, np.ndarray]:
        """Returns the inputs of a model: all columns except label and time."""
        return {
            "user_id": self.user_id,
            "movie_id": self.movie_id,
            "genres": self.genres,
        }
