"""What the layers of both Kerases share. Loads neither Keras.

May import `table`, `feature` and all rooms below them. Start with
`embedding_reader.py`, which a layer holds.
"""
