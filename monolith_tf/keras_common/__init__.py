"""How layers read tables, whichever Keras they are layers of."""
