"""On what terms the ids of a feature get a row and keep it.

Features that share a table may each have a min_count and a ttl of their own.
They travel with the gradients in one integer (ops/cc/table/count_word.h).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from monolith_tf.config import TableConfig
from monolith_tf.numbers_given import as_integer

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


def checked_min_count(owner: str, min_count, config: TableConfig) -> int | None:
    """Returns a min_count of `owner`'s own as an int, or None for none.

    Args:
        owner: Who has it, for messages: "feature 'movie'".
        min_count: What was passed.
        config: That of the table.

    Raises:
        TypeError: It is not an integer.
        ValueError: The table's admission can't keep it.
    """
    if min_count is None:
        return None
    min_count = _index("min_count", owner, min_count)
    limit = config.admission.max_own_min_count
    if not limit:
        raise ValueError(
            f"min_count of {owner} needs a table that counts occurrences: "
            "mt.Admission(min_count=n) with n of 2 or more, which holds where "
            f"no other is given. Received: min_count={min_count} for table "
            f"{config.name!r} with {config.admission}."
        )
    if not 1 <= min_count <= limit:
        raise ValueError(
            f"min_count of {owner} must be from 1 to {limit} for table "
            f"{config.name!r} with {config.admission}. Received: "
            f"min_count={min_count}."
            + (
                " A table of a min_count above 255 has a sketch of wider "
                "counts."
                if limit < min_count < 1 << 16
                else ""
            )
        )
    return min_count


def checked_ttl(owner: str, ttl_seconds, config: TableConfig) -> int | None:
    """Returns a ttl of `owner`'s own as an int, or None for none.

    Args:
        owner: Who has it, for messages: "feature 'movie'".
        ttl_seconds: What was passed.
        config: That of the table.

    Raises:
        TypeError: It is not an integer.
        ValueError: The table's rows don't expire, or live less long.
    """
    if ttl_seconds is None:
        return None
    ttl_seconds = _index("ttl_seconds", owner, ttl_seconds)
    longest = config.eviction.ttl_seconds
    if not 1 <= ttl_seconds <= longest <= MAX_TTL:
        raise ValueError(
            f"ttl_seconds of {owner} must be from 1 to that of its table, "
            f"which must be at most {MAX_TTL}. Received: "
            f"ttl_seconds={ttl_seconds} for table {config.name!r} with "
            f"{config.eviction}. Give the table's mt.Eviction the longest "
            "ttl_seconds that is needed."
        )
    return ttl_seconds


def word_of(
    min_count: int | None, ttl_seconds: int | None, config: TableConfig
) -> int:
    """Returns the `OwnTerms.word` of what differs from the table's terms.

    Args:
        min_count: As `checked_min_count` returned it.
        ttl_seconds: As `checked_ttl` returned it.
        config: That of the table.
    """
    if min_count == config.admission.min_count:
        min_count = None
    if ttl_seconds == config.eviction.ttl_seconds:
        ttl_seconds = None
    return OwnTerms(min_count or 0, ttl_seconds or 0).word


def _index(field: str, owner: str, value) -> int:
    number = as_integer(value)
    if number is None:
        raise TypeError(
            f"{field} of {owner} must be an integer or None. Received: "
            f"{field}={value!r}."
        )
    return number


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
