"""Import TensorFlow from here: its start-up messages stay away from users."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # sums in the same order on every kind of CPU

import tensorflow as tf

tf.get_logger().setLevel("ERROR")

__all__ = ["tf"]
