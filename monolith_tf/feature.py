"""A model input that reads a table."""

from __future__ import annotations

import dataclasses
import functools
import operator

from monolith_tf.config import feature_overrides
from monolith_tf.config.feature_overrides import FeatureOverrides
from monolith_tf.config.table_config import TableConfig
from monolith_tf.config.validation import as_integer
from monolith_tf.table import Table

COMBINERS = ("sum", "mean", "sqrtn", "first_n", None)


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureConfig:
    """A model input, the table it reads, and how its rows become vectors.

    Features that are given the same config object share a table.

    Args:
        name: Key of the input and of the output.
        table: `mt.TableConfig` or `mt.Table`.
        combiner: "sum", "mean" or "sqrtn" combines the rows of an example into
            one vector (sum, sum / count, sum / sqrt(count)); an example without
            ids reads zeros, or the row of `default_id`. "first_n" keeps the
            vectors of the first `max_sequence_length` ids,
            `[max_sequence_length, dim]`, filled up with zeros; further ids are
            not looked up, get no gradient and are not counted. None keeps one
            vector per id. "first_n" and None give sequences with a Keras mask:
            False for padding and behind the ids of an example.
        padding_id: The id that fills up short examples, or None. It reads
            zeros, gets no gradient, is not counted and is masked. Combiners
            skip it.
        max_sequence_length: Number of ids that "first_n" keeps, 1 to 2^31 - 1.
            Required for that combiner, refused for others.
        min_count: Occurrences in the table that admit an id of this feature.
            Overrides the threshold of the table's `mt.Admission`. If an id
            occurs in several features of one batch, the smallest threshold
            applies. 1 admits at once. The maximum is 65,535 for a table that
            counts, exactly or in a sketch, and 255 in a sketch whose own
            min_count is at most 255.
        default_id: The id of an example without ids, or None for zeros. The
            example then reads a row that is trained, admitted and evicted like
            any other. An example is without ids if it is empty or holds only
            padding. Without a combiner each id is an example: padding reads the
            row and nothing is masked. The weight of the id is 1.
        ttl_seconds: Time to live of a row after an update through this feature,
            1 to 2^31 - 1. Overrides the `ttl_seconds` of the table's
            `mt.Eviction`, which is the maximum. A row expires when the time to
            live of every update has passed.
        probability: Probability with which each occurrence in a batch admits an
            id of this feature, 2^-31 to 1, rounded to 12 binary digits.
            Replaces `min_count`, for any table. The occurrences count for other
            features. If an id occurs in several features of one batch, the
            threshold of those that count applies, else the largest probability.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument is out of range or contradicts another one, the
            table's admission does not support the min_count, default_id can
            never be read, or ttl_seconds exceeds that of the table.

    Example:
    >>> import monolith_tf as mt
    >>> feature = mt.FeatureConfig("genres", mt.TableConfig("genre", dim=4),
    ...                            combiner="mean", padding_id=0)
    """

    name: str
    table: TableConfig | Table
    combiner: str | None = None
    padding_id: int | None = None
    max_sequence_length: int | None = None
    min_count: int | None = None
    default_id: int | None = None
    ttl_seconds: int | None = None
    probability: float | None = None

    def __post_init__(self):
        """Checks every argument."""
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(
                "A feature's name must be a non-empty str. Received: "
                f"name={self.name!r}."
            )
        if not isinstance(self.table, (TableConfig, Table)):
            raise TypeError(
                f"Feature {self.name!r} needs an mt.TableConfig or an "
                f"mt.Table. Received: {self.table!r}."
            )
        if self.combiner not in COMBINERS:
            raise ValueError(
                f"combiner of feature {self.name!r} must be 'sum', 'mean', "
                "'sqrtn', 'first_n' or None. Received: "
                f"combiner={self.combiner!r}."
            )
        self._check_max_sequence_length()
        self._check_overrides()
        self._check_id("padding_id")
        self._check_id("default_id")
        if self.default_id is None:
            return
        if self.default_id == self.padding_id:
            raise ValueError(
                f"default_id of feature {self.name!r} must differ from its "
                f"padding_id. Received: {self.default_id} for both."
            )
        if self.combiner is None and self.padding_id is None:
            raise ValueError(
                f"default_id of feature {self.name!r} replaces padding where "
                "there is no combiner, so it needs a padding_id. Received: "
                f"default_id={self.default_id}, combiner=None, padding_id=None."
            )

    def _check_id(self, field: str) -> None:
        value = getattr(self, field)
        if value is None:
            return
        try:
            value = operator.index(value)
        except TypeError:
            raise TypeError(
                f"{field} of feature {self.name!r} must be an integer or None. "
                f"Received: {field}={value!r}."
            ) from None
        if not -(1 << 63) <= value < 1 << 63:
            raise ValueError(
                f"{field} of feature {self.name!r} must be an int64. "
                f"Received: {field}={value}."
            )
        object.__setattr__(self, field, value)

    def _check_max_sequence_length(self) -> None:
        value = self.max_sequence_length
        if self.combiner != "first_n":
            if value is not None:
                raise ValueError(
                    f"max_sequence_length of feature {self.name!r} is for "
                    "combiner='first_n'. Received: "
                    f"max_sequence_length={value!r}, "
                    f"combiner={self.combiner!r}."
                )
            return
        length = as_integer(value)
        if length is None:
            raise TypeError(
                f"Feature {self.name!r} needs an integer max_sequence_length "
                "for combiner='first_n'. Received: "
                f"max_sequence_length={value!r}."
            )
        if not 1 <= length < 1 << 31:
            raise ValueError(
                f"max_sequence_length of feature {self.name!r} must be from 1 "
                f"to 2^31 - 1. Received: max_sequence_length={length}."
            )
        object.__setattr__(self, "max_sequence_length", length)

    def _check_overrides(self) -> None:
        owner = f"feature {self.name!r}"
        min_count = feature_overrides.checked_min_count(
            owner, self.min_count, self.config
        )
        object.__setattr__(self, "min_count", min_count)
        probability = feature_overrides.checked_probability(
            owner, self.probability, min_count
        )
        object.__setattr__(self, "probability", probability)
        ttl_seconds = feature_overrides.checked_ttl(
            owner, self.ttl_seconds, self.config
        )
        object.__setattr__(self, "ttl_seconds", ttl_seconds)

    @functools.cached_property
    def overrides(self) -> FeatureOverrides:
        """Overrides of the table's admission and time to live."""
        return feature_overrides.overrides_of(
            self.min_count, self.probability, self.ttl_seconds, self.config
        )

    @property
    def config(self) -> TableConfig:
        """The config of the table that the feature reads."""
        if isinstance(self.table, Table):
            return self.table.config
        return self.table
