"""Served models: tables and control signatures, of stock ops alone.

Imports `ids`, `step` and below, and no op of this library: an unmodified
TensorFlow Serving loads the SavedModel that is traced here. Start with
`serving_table.py`.
"""
