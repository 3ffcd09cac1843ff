"""The fault proxy of the benchmarks, for tests.

It lies in benchmarks/, which may not import tests.
"""

from __future__ import annotations

import importlib.util
import pathlib

_FILE = pathlib.Path(__file__).parents[2] / "benchmarks" / "fault_proxy.py"
_spec = importlib.util.spec_from_file_location("fault_proxy", _FILE)
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)

FaultProxy = _module.FaultProxy
delayed = _module.delayed
REQUEST = _module.REQUEST
REPLY = _module.REPLY
