"""What the layers that read tables have in common."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow.python.trackable.data_structures import NoDependency

from monolith_tf.config import TableConfig
from monolith_tf.errors import CheckpointError
from monolith_tf.feature import Feature
from monolith_tf.layers.feature_ids import FeatureIds
from monolith_tf.lookup import lookup_features
from monolith_tf.table import Table
from monolith_tf.table_checkpoint import TableState
from monolith_tf.table_checkpoint import check_filter
from monolith_tf.table_checkpoint import layout
from monolith_tf.table_checkpoint import set_state
from monolith_tf.table_checkpoint import state_of
from monolith_tf.table_set import two_configs_message

tf_keras.saving.register_keras_serializable(package="monolith_tf")(TableConfig)


def describe_config(config: TableConfig) -> dict:
    """Returns a config as Keras writes objects, so that sharing is kept."""
    description = tf_keras.saving.serialize_keras_object(config)
    # Keras marks only the second use, in a dict of which it wrote a copy.
    description["shared_object_id"] = id(config)
    return description


def described_config(description: dict) -> TableConfig:
    """Makes the config that `describe_config` described.

    While Keras loads a model, layers that shared a config get one object.
    """
    return tf_keras.saving.deserialize_keras_object(description)


def describe_feature(feature: Feature) -> dict:
    """Returns what `described_feature` makes an equal feature of."""
    description = {
        field.name: getattr(feature, field.name)
        for field in dataclasses.fields(feature)
    }
    return {**description, "table": describe_config(feature.config)}


def described_feature(description: dict) -> Feature:
    """Makes the feature that `describe_feature` described.

    A file of an earlier version lacks what it could not say.
    """
    table = described_config(description["table"])
    return Feature(**{**description, "table": table})


class TableLayer(tf_keras.layers.Layer):
    """Reads tables for some features; the base of the public layers."""

    def __init__(self, features: list[Feature], **kwargs):
        """Makes the tables, or finds those that are there."""
        super().__init__(**kwargs)
        # Keras would cast int64 inputs never, but float inputs to its own
        # dtype, and hide a wrong dtype so.
        self._autocast = False
        self._feature_list = tuple(features)
        self._table_of_feature = self._make_tables(features)
        self._table_list = sorted(
            set(self._table_of_feature.values()), key=lambda table: table.name
        )
        self._anchors = [table.anchor for table in self._table_list]
        # Not in checkpoints: a model that was saved restores into one whose
        # features have other min_counts or ttls.
        own = {
            (self._table_of_feature[feature.name], feature.own_terms): None
            for feature in features
            if feature.own_terms
        }
        self._own_anchors = NoDependency(
            [table.anchor_of(own_terms) for table, own_terms in own]
        )

    @property
    def tables(self) -> list[Table]:
        """The distinct tables that the layer reads, ordered by name."""
        return list(self._table_list)

    def read(self, inputs: dict, weights: dict | None = None) -> dict:
        """Reads and combines the rows of all features by one lookup.

        Args:
            inputs: Feature name to ids.
            weights: Feature name to weights, for some of the features, or None.

        Returns:
            Feature name to its vectors, in the layer's compute dtype.
        """
        _refuse_keras_3(self, inputs)
        weights = {} if weights is None else weights
        _check_weights(self, inputs, weights)
        found = FeatureIds.of_all(self._feature_list, inputs, weights)
        vectors = lookup_features(
            self._table_list,
            [feature_ids.batch for feature_ids in found],
            [
                self._table_list.index(self._table_of_feature[feature.name])
                for feature in self._feature_list
            ],
        )
        return {
            feature_ids.feature.name: feature_ids.in_structure(
                tf.cast(feature_vectors, self.compute_dtype)
            )
            for feature_ids, feature_vectors in zip(found, vectors, strict=True)
        }

    def save_own_variables(self, store):
        """Writes the rows with their slots into a .keras file."""
        for table in self._table_list:
            parts = list(table.export_whole())
            for number, (ids, last_update, rows) in enumerate(parts):
                prefix = f"{table.name}:{number}"
                store[f"{prefix}:ids"] = ids
                store[f"{prefix}:last_update"] = last_update
                store[f"{prefix}:rows"] = rows
            store[f"{table.name}:parts"] = len(parts)
            store[f"{table.name}:layout"] = np.frombuffer(
                layout(table).encode(), np.uint8
            )
            state = state_of(table)
            store[f"{table.name}:clock"] = state.clock
            store[f"{table.name}:filter"] = np.frombuffer(
                state.filter.encode(), np.uint8
            )
            store[f"{table.name}:counted"] = state.counted
            store[f"{table.name}:words"] = state.words

    def load_own_variables(self, store):
        """Puts the rows of a .keras file in place of the tables'.

        Raises:
            CheckpointError: A part is missing, or the rows are of another
                layout; no table of the layer changed.
        """
        for table in self._table_list:
            _check_stored(table, store)
        for table in self._table_list:
            table.clear()
            set_state(table, _stored_state(table, store))
            for number in range(int(store[f"{table.name}:parts"][()])):
                prefix = f"{table.name}:{number}"
                table.import_whole(
                    store[f"{prefix}:ids"][()],
                    store[f"{prefix}:last_update"][()],
                    store[f"{prefix}:rows"][()],
                )

    def _make_tables(self, features: list[Feature]) -> dict[str, Table]:
        """Returns the table of each feature; equal configs are one table."""
        of_feature: dict[str, Table] = {}
        by_name: dict[str, TableConfig] = {}
        for feature in features:
            first = by_name.setdefault(feature.config.name, feature.config)
            if not first.same_as(feature.config):
                raise ValueError(two_configs_message(first, feature.config))
        made: dict[str, Table] = {}
        for feature in features:
            name = feature.config.name
            if isinstance(feature.table, Table):
                if made.setdefault(name, feature.table) is not feature.table:
                    raise ValueError(
                        two_configs_message(made[name].config, feature.config)
                    )
            elif name not in made:
                made[name] = Table(by_name[name])
            of_feature[feature.name] = made[name]
        return of_feature


@tf.autograph.experimental.do_not_convert
def _check_stored(table: Table, store) -> None:
    """Refuses what a .keras file has of a table unless all of it fits."""
    parts, found = f"{table.name}:parts", f"{table.name}:layout"
    if parts not in store or found not in store:
        raise CheckpointError(
            f"The .keras file has no rows of table {table.name!r}. "
            "Load it into the model that was saved."
        )
    expected = layout(table)
    saved = bytes(np.asarray(store[found][()])).decode()
    if saved != expected:
        raise CheckpointError(
            f"The .keras file's rows do not fit table {table.name!r}, which "
            f"has {expected!r}. The file has {saved!r}. Load it into a model "
            "of the config that was saved."
        )
    for number in range(int(store[parts][()])):
        for what in ("ids", "last_update", "rows"):
            if f"{table.name}:{number}:{what}" not in store:
                raise CheckpointError(
                    f"The .keras file lacks {what} of part {number} of table "
                    f"{table.name!r}. Nothing was loaded; use another file."
                )
    check_filter(table, tf.constant(_stored_state(table, store).filter))


def _stored_state(table: Table, store) -> TableState:
    found = {}
    for what in ("clock", "filter", "counted", "words"):
        key = f"{table.name}:{what}"
        if key not in store:
            raise CheckpointError(
                f"The .keras file lacks {what} of table {table.name!r}. "
                "Nothing was loaded; use another file."
            )
        found[what] = np.asarray(store[key][()])
    found["filter"] = bytes(found["filter"]).decode()
    return TableState(**found)


def _refuse_keras_3(layer: TableLayer, inputs: dict) -> None:
    """Refuses to be part of a Keras 3 model, which would never train tables.

    Such a model does not see the variables of a tf_keras layer.
    """
    state = sys.modules.get("keras.src.backend.common.global_state")
    if any(
        type(value).__module__.split(".")[0] == "keras"
        for value in inputs.values()
    ) or (
        state is not None
        and state.get_global_attribute("current_call_ctx") is not None
    ):
        raise TypeError(
            f"Layer {layer.name!r} is a tf_keras layer and can't be part of a "
            "Keras 3 model. Build the model with tf_keras (import tf_keras), "
            "or set TF_USE_LEGACY_KERAS=1 before TensorFlow is imported, which "
            "makes tf.keras the same."
        )


def _check_weights(layer: TableLayer, inputs: dict, weights) -> None:
    if not isinstance(weights, dict):
        raise TypeError(
            f"Layer {layer.name!r} needs weights as a dict of feature name to "
            f"weights. Received: {type(weights).__name__}."
        )
    unknown = sorted(set(weights) - set(inputs))
    if unknown:
        raise ValueError(
            f"Layer {layer.name!r} got weights for {unknown}, which are not "
            f"among its features: {sorted(inputs)}."
        )
