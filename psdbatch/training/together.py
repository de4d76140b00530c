"""What replicas do together: sum up, and agree with the chief.  With one replica the same calls change nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.models.quiet import tf


class Together:
    """The replicas of a round, seen from one of them.

    Parameters
    ----------
    strategy
        Of TensorFlow; made before any other operation of the process.
    rank, replicas
        This one, and how many there are.
    """

    def __init__(self, strategy: Any, rank: int, replicas: int) -> None:
        self.strategy = strategy
        self.rank, self.replicas = rank, replicas
        self._sum = tf.function(self.total, reduce_retracing=True)

    @property
    def chief(self) -> bool:
        """Whether this one decides and writes."""
        return self.rank == 0

    def total(self, value: Any) -> Any:
        """Sum of a tensor over all replicas; inside a traced function."""

        def reduced(part: Any) -> Any:
            part = tf.identity(part)  # made here, it has a device, without which it cannot be reduced
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, part)

        return self.strategy.run(reduced, (value,))

    def agree(self, value: Any) -> Any:
        """The chief's ``value`` (of JSON), on all."""
        content = np.frombuffer(json.dumps(value).encode(), np.uint8) if self.chief else np.zeros(0, np.uint8)
        size = int(self._chiefs(np.array([len(content)], np.int64))[0])
        padded = np.zeros(size, np.int64)
        if self.chief:
            padded[:] = content
        return json.loads(self._chiefs(padded).astype(np.uint8).tobytes())

    def agree_on(self, values: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The chief's arrays, bit for bit, on all; shapes and dtypes are the same everywhere."""
        return [self._chiefs(np.asarray(value)) for value in values]

    def _chiefs(self, value: NDArray[Any]) -> NDArray[Any]:
        if self.replicas == 1:
            return value
        # Bytes as whole numbers: a sum with zeros then keeps every bit of every dtype, NaN included
        numbers = np.frombuffer(value.tobytes(), np.uint8).astype(np.int32)
        if not self.chief:
            numbers = np.zeros_like(numbers)
        summed = self._sum(tf.constant(numbers)).numpy()
        return np.frombuffer(summed.astype(np.uint8).tobytes(), value.dtype).reshape(value.shape)
