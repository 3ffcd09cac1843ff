"""On what terms the ids of a feature get a row and keep it.

Features that share a table may each have a min_count or a probability, and a
ttl, of their own. They travel with the gradients in one integer
(ops/cc/admission/packed_count.h).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from monolith_tf.config.table_config import TableConfig
from monolith_tf.config.validation import as_integer
from monolith_tf.config.validation import checked_number

MAX_TTL = (1 << 31) - 1

_BY_LOT = 1 << 47


class OwnTerms(NamedTuple):
    """The terms of a feature, 0 for those of the table.

    Attributes:
        min_count: Occurrences that admit an id.
        probability: That each occurrence admits its id with; not beside
            min_count.
        ttl_seconds: How long a row lives after an update.
    """

    min_count: int = 0
    probability: float = 0.0
    ttl_seconds: int = 0

    @classmethod
    def of(cls, word: int) -> OwnTerms:
        """Takes apart what `word` made; a probability has 12 binary digits."""
        bar, ttl_seconds = word & 0xFFFF, (word & (_BY_LOT - 1)) >> 16
        if not word & _BY_LOT:
            return cls(min_count=bar, ttl_seconds=ttl_seconds)
        probability = math.ldexp(2048 + (bar & 2047), (bar >> 11) - 42)
        return cls(probability=probability, ttl_seconds=ttl_seconds)

    @property
    def word(self) -> int:
        """The terms in one integer, 0 for none."""
        ttl = self.ttl_seconds << 16
        if not self.probability:
            return ttl | self.min_count
        fraction, exponent = math.frexp(self.probability)
        # A fraction that is rounded up to 1 goes to the next exponent.
        bar = round(fraction * 4096) - 2048 + (exponent + 30 << 11)
        return _BY_LOT | ttl | bar


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
    if limit == 1 < min_count:
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


def checked_probability(owner: str, probability, min_count) -> float | None:
    """Returns a probability of `owner`'s own as a float, or None for none.

    Args:
        owner: Who has it, for messages: "feature 'movie'".
        probability: What was passed.
        min_count: What was passed beside it.

    Raises:
        TypeError: It is not a number.
        ValueError: It is out of range, or there is a min_count too.
    """
    if probability is None:
        return None
    probability = checked_number(
        f"The admission of {owner}",
        "probability",
        probability,
        "2^-31 <= probability <= 1",
        lambda value: 2**-31 <= value <= 1,
    )
    if min_count is not None:
        raise ValueError(
            f"The admission of {owner} needs a min_count or a probability, not "
            "both: an id gets its row by count or by lot. Received: "
            f"min_count={min_count}, probability={probability}."
        )
    return probability


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
    min_count: int | None,
    probability: float | None,
    ttl_seconds: int | None,
    config: TableConfig,
) -> int:
    """Returns the `OwnTerms.word` of what differs from the table's terms.

    Args:
        min_count: As `checked_min_count` returned it.
        probability: As `checked_probability` returned it.
        ttl_seconds: As `checked_ttl` returned it.
        config: That of the table.
    """
    admission = config.admission
    if probability is None and admission.probability is None:
        min_count = None if min_count == admission.min_count else min_count
    if probability == admission.probability:
        probability = None
    if ttl_seconds == config.eviction.ttl_seconds:
        ttl_seconds = None
    return OwnTerms(min_count or 0, probability or 0.0, ttl_seconds or 0).word


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

    Of an id that comes through several features the smallest min_count, or else
    the largest probability, and the longest ttl hold, and a feature without one
    has that of the table: it brings it too, where another one brings its own.

    Args:
        words: What each of the features, or groups of slices, of a table brings
            in a step.
        config: That of the table.
    """
    terms = [OwnTerms.of(word) for word in words]
    of_table = OwnTerms()
    if any(one.min_count or one.probability for one in terms):
        of_table = (
            OwnTerms(min_count=config.admission.min_count)
            if config.admission.probability is None
            else OwnTerms(probability=config.admission.probability)
        )
    ttl_seconds = 0
    if any(one.ttl_seconds for one in terms):
        ttl_seconds = config.eviction.ttl_seconds
    return [
        (one if one.min_count or one.probability else of_table)
        ._replace(ttl_seconds=one.ttl_seconds or ttl_seconds)
        .word
        for one in terms
    ]
