"""Ids of genres: hashes of their names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monolith_tf.data.ratings import GENRE_PADDING_ID
from monolith_tf.stock_ops import hashing


def genre_ids(names_of_movies: Sequence[Sequence[str]]) -> np.ndarray:
    """Returns the ids of each movie's genres, padded to the longest list.

    An id is the 64-bit hash of the name, so a genre has the same id in every
    file.

    Args:
        names_of_movies: The genre names of the `m` movies.

    Returns:
        int64 `[m, g]`, `g` at least 1, `GENRE_PADDING_ID` after the last genre.
    """
    width = max([1, *(len(names) for names in names_of_movies)])
    ids = np.full((len(names_of_movies), width), GENRE_PADDING_ID, np.int64)
    known: dict[str, np.int64] = {}
    for row, names in enumerate(names_of_movies):
        for column, name in enumerate(names):
            if name not in known:
                known[name] = np.uint64(hashing.fnv1a64(name)).astype(np.int64)
            ids[row, column] = known[name]
    return ids
