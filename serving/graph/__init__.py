"""The graph side of serving: tables and control signatures, stock ops only.

Everything here is traced into a SavedModel that an unmodified TensorFlow
Serving loads, so nothing here may use an op of this library.
"""
