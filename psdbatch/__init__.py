"""Reprocess archives of detector pulses with a frozen TensorFlow model."""

__version__ = "0.1.0"
