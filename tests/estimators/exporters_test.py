"""Exporters refuse arguments that cannot work."""

from __future__ import annotations

import pytest

from monolith_tf import estimators


def receiver():
    raise AssertionError("not called when an exporter is made")


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        (estimators.FinalExporter, {"name": ""}, "FinalExporter needs a name"),
        (
            estimators.BestExporter,
            {"serving_input_receiver_fn": None},
            "BestExporter needs a serving_input_receiver_fn",
        ),
        (estimators.LatestExporter, {"as_text": True}, "must be False"),
        (estimators.LatestExporter, {"exports_to_keep": 0}, "above 0 or None"),
        (estimators.BestExporter, {"exports_to_keep": -1}, "above 0 or None"),
    ],
)
def test_an_exporter_refuses_wrong_arguments(cls, arguments, message):
    given = {"name": "one", "serving_input_receiver_fn": receiver}
    with pytest.raises(ValueError, match=message):
        cls(**{**given, **arguments})
