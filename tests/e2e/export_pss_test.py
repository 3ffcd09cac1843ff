"""A model on parameter servers is exported from within `fit`."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from monolith_tf import serving


def test_an_export_of_parameter_servers_is_a_local_copy(cluster_run):
    trainer = cluster_run.report("export")
    exports = cluster_run.directory / "exports"
    assert all("/job:ps/" in device for device in trainer["devices"])
    record = serving.ExportRecord.load(exports / "1")
    assert record.num_shards == 2
    assert len(set(record.generations)) == 2
    assert record.tables[0]["rows"] == 5
    # All servers have taken the five steps that the annealing takes.
    assert record.tables[0]["stored"] == "float32[3] onebit(0.5)[1]"
    assert b"/job:" not in (exports / "1" / "saved_model.pb").read_bytes()
    loaded = tf.saved_model.load(record)
    outputs = loaded.signatures["serving_default"](
        movie_id=tf.constant([1, 2, 3, -7, 2**62], tf.int64)
    )
    at_export, later = trainer["answers"]
    np.testing.assert_array_equal(outputs["score"].numpy(), at_export)
    assert at_export != later
