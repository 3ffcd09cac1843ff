"""The view of a table that the layers below `mt.Table` need.

`mt.Table` implements it. Modules that place, read, update and restore tables
depend on this protocol and not on the class, so imports only go down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Protocol

import tensorflow as tf

from monolith_tf.config.feature_overrides import FeatureOverrides
from monolith_tf.config.table_config import TableConfig

if TYPE_CHECKING:
    from monolith_tf.placement.table_set import TableSet


class TableHandle(Protocol):
    """A named table: its config and the table set that holds its rows."""

    @property
    def config(self) -> TableConfig:
        """The table's config."""

    @property
    def name(self) -> str:
        """The table's name, unique in its table set."""

    @property
    def dim(self) -> int:
        """Length of a row."""

    @property
    def table_set(self) -> TableSet:
        """The table set that the table belongs to."""

    def variable_for(self, overrides: FeatureOverrides) -> tf.Variable:
        """Returns the zero-row variable of lookups with these overrides.

        Gradients of the lookups are gradients of that variable.
        """
