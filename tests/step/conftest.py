"""Graphs that TensorFlow executes for a call."""

import pytest
from tensorflow.python.eager import context


@pytest.fixture
def executed_graphs():
    """A function that gives the graphs a call is the first to run."""

    def graphs_of(call) -> list:
        context.context().ensure_initialized()
        context.enable_run_metadata()
        # TensorFlow goes on recording after it is told to stop.
        context.export_run_metadata()
        try:
            call()
            return list(context.export_run_metadata().partition_graphs)
        finally:
            context.disable_run_metadata()

    return graphs_of
