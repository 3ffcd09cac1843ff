"""Warm starts from the variables and tables of another checkpoint."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from monolith_tf.checkpoint import by_name
from monolith_tf.checkpoint.restore_scope import restoring
from monolith_tf.checkpoint.saved_tables import checkpoint_path
from monolith_tf.checkpoint.tf1_graph import saved_variables
from monolith_tf.checkpoint.tf1_graph import tables_in


@dataclasses.dataclass(frozen=True)
class WarmStartSettings:
    """Variables and tables that a new training takes from a checkpoint.

    Attributes:
        ckpt_to_initialize_from: A checkpoint of an Estimator or of Keras, or a
            folder of checkpoints.
        vars_to_warm_start: A regular expression of names, or a list of
            expressions or variables; None for no variable. A table is taken
            with all its rows if the expression matches its name (".*" matches
            all).
        var_name_to_vocab_info: Must be empty: tables have no vocabulary.
        var_name_to_prev_var_name: Name of a variable or table to its name in
            the checkpoint.
    """

    ckpt_to_initialize_from: str | os.PathLike
    vars_to_warm_start: Any = ".*"
    var_name_to_vocab_info: Mapping | None = None
    var_name_to_prev_var_name: Mapping[str, str] | None = None

    def __post_init__(self):
        """Rejects arguments that are not supported."""
        if self.var_name_to_vocab_info:
            raise ValueError(
                "WarmStartSettings: var_name_to_vocab_info must be empty: ids "
                "of tables are not positions in a vocabulary. Received: "
                f"{self.var_name_to_vocab_info!r}."
            )


def warm_start(
    settings: WarmStartSettings, graph: tf.Graph, init_op=None
) -> list:
    """Takes initial values from another checkpoint.

    Args:
        settings: The variables and tables to take.
        graph: The complete training graph.
        init_op: Initializes its variables; None for all variables.

    Returns:
        Operations that initialize the variables and then restore the tables.
    """
    path = checkpoint_path(settings.ckpt_to_initialize_from)
    renamed = dict(settings.var_name_to_prev_var_name or {})
    wanted = settings.vars_to_warm_start
    if wanted is None:
        wanted = []
    patterns = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    patterns = [
        p if isinstance(p, str) else re.escape(p.op.name) + "$"
        for p in patterns
    ]

    def is_wanted(name: str) -> bool:
        return any(re.match(pattern, name) for pattern in patterns)

    trainable = {
        id(variable) for variable in tf.compat.v1.trainable_variables()
    }
    assignment = {}
    for variable in saved_variables(graph):
        if id(variable) not in trainable and variable.op.name not in renamed:
            continue
        if isinstance(variable, tf.Variable) and is_wanted(variable.op.name):
            old = renamed.get(variable.op.name, variable.op.name)
            assignment[old] = variable
    if assignment:
        tf.compat.v1.train.init_from_checkpoint(path, assignment)
    if init_op is None:
        init_op = tf.compat.v1.global_variables_initializer()
    with tf.control_dependencies([init_op]), restoring():
        return [
            by_name.restore_table(
                table, path, renamed.get(table.name, table.name)
            ).op
            for table in tables_in(graph)
            if is_wanted(table.name)
        ] or [tf.no_op()]
