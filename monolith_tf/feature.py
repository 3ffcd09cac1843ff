"""A model input that reads a table."""

from __future__ import annotations

import dataclasses
import operator

from monolith_tf.config import feature_overrides
from monolith_tf.config.table_config import TableConfig
from monolith_tf.config.validation import as_integer
from monolith_tf.table import Table

COMBINERS = ("sum", "mean", "sqrtn", "first_n", None)


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureConfig:
    """A model input and how its rows become vectors.

    Several features may read one table: give them the same config object.

    Args:
        name: Key of the input, and of the output.
        table: `mt.TableConfig` or `mt.Table`.
        combiner: "sum", "mean" or "sqrtn" makes one vector of an example's
            rows (sum, sum / count, sum / sqrt(count)); an example without ids
            gets zeros, or the row of `default_id`. "first_n" keeps the vectors
            of an example's first `n` ids, `[n, dim]`, zeros where it has
            fewer; further ids are not looked up, get no gradient and are not
            counted. None keeps one vector an id. Both give sequences, which
            Keras layers read with a mask: False for padding, and behind an
            example's ids.
        padding_id: The id that fills up short examples, or None. It reads
            zeros, gets no gradient, is not counted, and is masked. Combiners
            pass it over.
        n: How many ids "first_n" keeps; only for that combiner.
        min_count: Occurrences in the table that admit an id which occurs
            through this feature, in place of what the table's `mt.Admission`
            says. Of an id that comes through several features in one batch the
            smallest holds. 1, which admits at once; to 65,535 for a table whose
            admission counts, exactly or in a sketch; to 255 in a sketch whose
            own min_count is at most that.
        default_id: The id that an example without ids has, so that it reads a
            row which is trained, admitted and evicted as any other; None for
            zeros. Without ids is an example that is empty or holds padding
            alone. Without a combiner each id counts as an example: padding
            reads the row, and nothing is masked. The id has the weight 1.
        ttl_seconds: How long a row lives after an update through this feature,
            in place of the `ttl_seconds` of the table's `mt.Eviction`, which is
            the longest that there is. A row goes when the last of the ttls of
            all its updates is over. 1 to 2^31 - 1, at most the table's.
        probability: In place of `min_count`, for any table: each occurrence in
            a batch admits an id that occurs through this feature with this
            probability, from 2^-31 to 1, rounded to 12 binary digits. Its
            occurrences count for other features. Of an id that comes through
            several features in one batch the largest holds, or the min_count
            of those that count.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument has a value out of range or does not go with
            another, the table's admission can't keep the min_count, no example
            can miss the ids that default_id stands for, or the table's rows do
            not expire or live less long than ttl_seconds.

    Example:
    >>> import monolith_tf as mt
    >>> feature = mt.FeatureConfig("genres", mt.TableConfig("genre", dim=4),
    ...                      combiner="mean", padding_id=0)
    """

    name: str
    table: TableConfig | Table
    combiner: str | None = None
    padding_id: int | None = None
    n: int | None = None
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
        self._check_n()
        self._check_own_terms()
        self._check_id("padding_id")
        self._check_id("default_id")
        if self.default_id is None:
            return
        if self.default_id == self.padding_id:
            raise ValueError(
                f"default_id of feature {self.name!r} must be another id than "
                f"its padding_id, which is none. Received: {self.default_id} "
                "for both."
            )
        if self.combiner is None and self.padding_id is None:
            raise ValueError(
                f"default_id of feature {self.name!r} stands for padding where "
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

    def _check_n(self) -> None:
        if self.combiner != "first_n":
            if self.n is not None:
                raise ValueError(
                    f"n of feature {self.name!r} is for combiner='first_n'. "
                    f"Received: n={self.n!r}, combiner={self.combiner!r}."
                )
            return
        n = as_integer(self.n)
        if n is None:
            raise TypeError(
                f"Feature {self.name!r} needs an integer n for "
                f"combiner='first_n'. Received: n={self.n!r}."
            )
        if not 1 <= n < 1 << 31:
            raise ValueError(
                f"n of feature {self.name!r} must be from 1 to 2^31 - 1. "
                f"Received: n={n}."
            )
        object.__setattr__(self, "n", n)

    def _check_own_terms(self) -> None:
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

    @property
    def own_terms(self) -> int:
        """The `OwnTerms.word` of what the feature has not of the table."""
        return feature_overrides.word_of(
            self.min_count, self.probability, self.ttl_seconds, self.config
        )

    @property
    def config(self) -> TableConfig:
        """The config of the table that the feature reads."""
        if isinstance(self.table, Table):
            return self.table.config
        return self.table
