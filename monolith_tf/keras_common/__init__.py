"""Parts that the layers of tf_keras and of Keras 3 share; loads neither.

Imports `feature` and below. Start with `embedding_reader.py`.
"""
