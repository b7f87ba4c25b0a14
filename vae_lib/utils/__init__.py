"""Errors, files, signals, and how TensorFlow is started."""
