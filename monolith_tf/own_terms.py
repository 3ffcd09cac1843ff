"""On what terms the ids of a feature get a row and keep it.

Features that share a table may each have a min_count and a ttl of their own.
They travel with the gradients in one integer (ops/cc/table/count_word.h).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from monolith_tf.config import TableConfig

MAX_TTL = (1 << 31) - 1


class OwnTerms(NamedTuple):
    """The terms of a feature, 0 for those of the table.

    Attributes:
        min_count: Occurrences that admit an id.
        ttl_seconds: How long a row lives after an update.
    """

    min_count: int = 0
    ttl_seconds: int = 0

    @classmethod
    def of(cls, word: int) -> OwnTerms:
        """Takes apart what `word` made."""
        return cls(word & 0xFFFF, word >> 16)

    @property
    def word(self) -> int:
        """The terms in one integer, 0 for none."""
        return self.ttl_seconds << 16 | self.min_count


def completed(words: Iterable[int], config: TableConfig) -> list[int]:
    """Puts the terms of the table beside those of features.

    Of an id that comes through several features the smallest min_count and the
    longest ttl hold, and a feature without one has that of the table: it brings
    it too, where another one brings its own.

    Args:
        words: What each of the features, or groups of slices, of a table brings
            in a step.
        config: That of the table.
    """
    terms = [OwnTerms.of(word) for word in words]
    min_count, ttl_seconds = 0, 0
    if any(one.min_count for one in terms):
        min_count = config.admission.min_count
    if any(one.ttl_seconds for one in terms):
        ttl_seconds = config.eviction.ttl_seconds
    return [
        OwnTerms(
            one.min_count or min_count, one.ttl_seconds or ttl_seconds
        ).word
        for one in terms
    ]
