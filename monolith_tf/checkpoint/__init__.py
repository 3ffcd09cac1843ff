"""Checkpoints of tables in the formats of TensorFlow and Keras.

Imports `step` and below. Start with `table_state.py`.
"""
