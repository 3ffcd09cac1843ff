"""Per-feature overrides of admission and time to live.

Features that share a table may each have their own `min_count` or
`probability`, and their own `ttl_seconds`. Ops take the overrides of a feature
packed into one integer (ops/cc/admission/packed_count.h).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING
from typing import NamedTuple

from monolith_tf.config.validation import as_integer
from monolith_tf.config.validation import checked_number

if TYPE_CHECKING:
    from monolith_tf.config.table_config import TableConfig

MAX_TTL = (1 << 31) - 1

# Set where the low 16 bits are a probability and not a min_count.
_IS_PROBABILITY = 1 << 47


class FeatureOverrides(NamedTuple):
    """Overrides of one feature; false if it overrides nothing.

    Attributes:
        min_count: Occurrences that admit an id; 0 for that of the table.
        probability: Probability with which an occurrence admits its id; 0 for
            that of the table. Excludes min_count.
        ttl_seconds: Time to live of a row after an update; 0 for that of the
            table.
    """

    min_count: int = 0
    probability: float = 0.0
    ttl_seconds: int = 0

    def __bool__(self) -> bool:
        """Returns True if a field is set."""
        return any(self)

    def encode(self) -> int:
        """Packs the overrides into the integer that ops take; 0 for none."""
        ttl = self.ttl_seconds << 16
        if not self.probability:
            return ttl | self.min_count
        fraction, exponent = math.frexp(self.probability)
        # A fraction that is rounded up to 1 moves to the next exponent.
        threshold = round(fraction * 4096) - 2048 + (exponent + 30 << 11)
        return _IS_PROBABILITY | ttl | threshold

    @classmethod
    def decode(cls, packed: int) -> FeatureOverrides:
        """Unpacks what `encode` returned."""
        threshold = packed & 0xFFFF
        ttl_seconds = (packed & (_IS_PROBABILITY - 1)) >> 16
        if not packed & _IS_PROBABILITY:
            return cls(min_count=threshold, ttl_seconds=ttl_seconds)
        probability = math.ldexp(
            2048 + (threshold & 2047), (threshold >> 11) - 42
        )
        return cls(probability=probability, ttl_seconds=ttl_seconds)


NO_OVERRIDES = FeatureOverrides()


def overrides_of(
    min_count: int | None,
    probability: float | None,
    ttl_seconds: int | None,
    config: TableConfig,
) -> FeatureOverrides:
    """Returns the overrides of a feature: its values that differ from a table.

    Args:
        min_count: As `checked_min_count` returned it.
        probability: As `checked_probability` returned it. The result has 12
            binary digits of it, as ops do.
        ttl_seconds: As `checked_ttl` returned it.
        config: Config of the table.
    """
    admission = config.admission
    if probability is None and admission.probability is None:
        min_count = None if min_count == admission.min_count else min_count
    if probability == admission.probability:
        probability = None
    if ttl_seconds == config.eviction.ttl_seconds:
        ttl_seconds = None
    return FeatureOverrides(
        min_count or 0, _rounded(probability or 0.0), ttl_seconds or 0
    )


def completed(
    overrides: Iterable[FeatureOverrides], config: TableConfig
) -> list[FeatureOverrides]:
    """Fills in the values of the table where other features override them.

    If an id occurs in several features, the smallest min_count, else the
    largest probability, and the longest ttl apply. A feature without an
    override contributes the value of the table to that comparison.

    Args:
        overrides: Overrides of the features, or runs of slices, of one table in
            one step.
        config: Config of the table.
    """
    overrides = list(overrides)
    admission = NO_OVERRIDES
    if any(one.min_count or one.probability for one in overrides):
        admission = (
            FeatureOverrides(min_count=config.admission.min_count)
            if config.admission.probability is None
            else FeatureOverrides(probability=config.admission.probability)
        )
    ttl_seconds = 0
    if any(one.ttl_seconds for one in overrides):
        ttl_seconds = config.eviction.ttl_seconds
    return [
        (one if one.min_count or one.probability else admission)._replace(
            ttl_seconds=one.ttl_seconds or ttl_seconds
        )
        for one in overrides
    ]


def checked_min_count(owner: str, min_count, config: TableConfig) -> int | None:
    """Returns the min_count of `owner` as an int, or None for the table's.

    Args:
        owner: Owner of the value, for messages: "feature 'movie'".
        min_count: The value that was passed.
        config: Config of the table.

    Raises:
        TypeError: It is not an integer.
        ValueError: The table's admission does not support it.
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
    """Returns the probability of `owner` as a float, or None for none.

    Args:
        owner: Owner of the value, for messages: "feature 'movie'".
        probability: The value that was passed.
        min_count: The min_count that was passed together with it.

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
            "both: an id is admitted by count or with a probability. Received: "
            f"min_count={min_count}, probability={probability}."
        )
    return probability


def checked_ttl(owner: str, ttl_seconds, config: TableConfig) -> int | None:
    """Returns the ttl of `owner` as an int, or None for the table's.

    Args:
        owner: Owner of the value, for messages: "feature 'movie'".
        ttl_seconds: The value that was passed.
        config: Config of the table.

    Raises:
        TypeError: It is not an integer.
        ValueError: The table's rows do not expire, or live less long.
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


def _rounded(probability: float) -> float:
    """Returns a probability with 12 binary digits."""
    fraction, exponent = math.frexp(probability)
    return math.ldexp(round(fraction * 4096), exponent - 12)


def _index(field: str, owner: str, value) -> int:
    number = as_integer(value)
    if number is None:
        raise TypeError(
            f"{field} of {owner} must be an integer or None. Received: "
            f"{field}={value!r}."
        )
    return number
