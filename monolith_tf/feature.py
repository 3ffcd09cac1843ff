"""A model input that reads a table."""

from __future__ import annotations

import dataclasses
import operator

from monolith_tf.config import TableConfig
from monolith_tf.own_terms import MAX_TTL
from monolith_tf.own_terms import OwnTerms
from monolith_tf.table import Table

COMBINERS = ("sum", "mean", "sqrtn", "first_n", None)


@dataclasses.dataclass(frozen=True, eq=False)
class Feature:
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
            says; only for a table whose admission counts, exactly or in a
            sketch. Of an id that comes through several features in one batch
            the smallest holds. 1 to 65,535; to 255 in a sketch whose own
            min_count is at most that.
        default_id: The id that an example without ids has, so that it reads a
            row which is trained, admitted and evicted as any other; None for
            zeros. Without ids is an example that is empty or holds padding
            alone. Without a combiner each id counts as an example: padding
            reads the row, and nothing is masked. The id has the weight 1.
        ttl_seconds: How long a row lives after an update through this feature,
            in place of the `ttl_seconds` of the table's `mt.Eviction`, which is
            the longest that there is. A row goes when the last of the ttls of
            all its updates is over. 1 to 2^31 - 1, at most the table's.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument has a value out of range, the table's admission
            can't keep the min_count, or no example can miss the ids that
            default_id stands for, or the table's rows do not expire or live
            less long than ttl_seconds.

    Example:
    >>> import monolith_tf as mt
    >>> feature = mt.Feature("genres", mt.TableConfig("genre", dim=4),
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
        self._check_min_count()
        self._check_ttl()
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
        if isinstance(self.n, bool) or not hasattr(self.n, "__index__"):
            raise TypeError(
                f"Feature {self.name!r} needs an integer n for "
                f"combiner='first_n'. Received: n={self.n!r}."
            )
        n = operator.index(self.n)
        if not 1 <= n < 1 << 31:
            raise ValueError(
                f"n of feature {self.name!r} must be from 1 to 2^31 - 1. "
                f"Received: n={n}."
            )
        object.__setattr__(self, "n", n)

    def _check_min_count(self) -> None:
        if self.min_count is None:
            return
        if isinstance(self.min_count, bool) or not hasattr(
            self.min_count, "__index__"
        ):
            raise TypeError(
                f"min_count of feature {self.name!r} must be an integer or "
                f"None. Received: min_count={self.min_count!r}."
            )
        min_count = operator.index(self.min_count)
        limit = self.config.admission.max_own_min_count
        if not limit:
            raise ValueError(
                f"min_count of feature {self.name!r} needs a table that counts "
                "occurrences: mt.Admission(min_count=n) with n of 2 or more, "
                "which holds for features without one. Received: "
                f"min_count={min_count} for table {self.config.name!r} with "
                f"{self.config.admission}."
            )
        if not 1 <= min_count <= limit:
            raise ValueError(
                f"min_count of feature {self.name!r} must be from 1 to {limit} "
                f"for table {self.config.name!r} with {self.config.admission}. "
                f"Received: min_count={min_count}."
                + (
                    " A table of a min_count above 255 has a sketch of wider "
                    "counts."
                    if limit < min_count < 1 << 16
                    else ""
                )
            )
        object.__setattr__(self, "min_count", min_count)

    def _check_ttl(self) -> None:
        if self.ttl_seconds is None:
            return
        if isinstance(self.ttl_seconds, bool) or not hasattr(
            self.ttl_seconds, "__index__"
        ):
            raise TypeError(
                f"ttl_seconds of feature {self.name!r} must be an integer or "
                f"None. Received: ttl_seconds={self.ttl_seconds!r}."
            )
        ttl_seconds = operator.index(self.ttl_seconds)
        longest = self.config.eviction.ttl_seconds
        if not 1 <= ttl_seconds <= longest <= MAX_TTL:
            raise ValueError(
                f"ttl_seconds of feature {self.name!r} must be from 1 to that "
                f"of its table, which must be at most {MAX_TTL}. Received: "
                f"ttl_seconds={ttl_seconds} for table {self.config.name!r} "
                f"with {self.config.eviction}. Give the table's mt.Eviction "
                "the longest ttl_seconds that one of its features needs."
            )
        object.__setattr__(self, "ttl_seconds", ttl_seconds)

    @property
    def own_terms(self) -> int:
        """The `OwnTerms.word` of what the feature has not of the table."""
        min_count, ttl_seconds = self.min_count, self.ttl_seconds
        if min_count == self.config.admission.min_count:
            min_count = None
        if ttl_seconds == self.config.eviction.ttl_seconds:
            ttl_seconds = None
        return OwnTerms(min_count or 0, ttl_seconds or 0).word

    @property
    def config(self) -> TableConfig:
        """The config of the table that the feature reads."""
        if isinstance(self.table, Table):
            return self.table.config
        return self.table
