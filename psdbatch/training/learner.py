"""A network that learns: one step on a replica's rows of a global batch, summed over all replicas.

Every replica has plain variables of its own.  What they learn from is the same sum of the signals' gradients, so they stay
the same bit for bit, and a training gives the same network, to rounding, however many replicas it has.  (Keras's own
``fit`` fails under the strategy, see ``docs/design/training.md``.)
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.config.training import Optimisation, TrainingConfig
from psdbatch.models.quiet import tf
from psdbatch.networks.chance import Key
from psdbatch.networks.collection import build
from psdbatch.networks.examples import check_augmentation, example
from psdbatch.training.feeding import Batch
from psdbatch.training.together import Together
from psdbatch.training_set.facts import SetFacts

logger = logging.getLogger(__name__)

FIXED = 3
"""Sums before those of the metrics: weights, weighted losses, signals."""


class Learner:
    """Model, task, optimiser and the compiled step.

    Parameters
    ----------
    config
        The training.
    facts
        Of its set.
    together
        The replicas.
    xla
        Whether the replica's part of a step is compiled with XLA, where it can.

    Attributes
    ----------
    names
        Of the sums' metrics.
    """

    def __init__(self, config: TrainingConfig, facts: SetFacts, together: Together, xla: bool) -> None:
        self.config, self.facts, self.together = config, facts, together
        settings = config.optimisation
        tf.keras.utils.set_random_seed(settings.seed)
        self.window = config.preparation.length if config.preparation.enabled else facts.samples
        assert self.window is not None
        built = build(config.network, self.window, facts.classes, settings.loss)
        self.model, self.task = built.model, built.task
        check_augmentation(self.task, config.augmentation, facts.samples)
        self.optimiser = make_optimiser(settings)
        self.optimiser.build(self.model.trainable_variables)
        self._shapes = [tuple(variable.shape) for variable in self.model.trainable_variables]
        self._moving = [
            variable
            for variable in self.model.non_trainable_variables
            if together.replicas > 1 and tf.as_dtype(variable.dtype).is_floating
        ]
        self.names = self._metric_names()
        self.sums = tf.Variable(tf.zeros(FIXED + len(self.names), tf.float64))
        self._compile(xla)
        self._measuring = tf.Variable(tf.zeros_like(self.sums))

    # What a replica does

    def step(self, batch: Batch, epoch: int, stop: bool) -> Any:
        """Learn from a batch; float32 ``(2,)``: whether a replica wants to stop, and whether the step was void.

        A step whose loss or gradient is not a finite number changes nothing in the weights but what momentum does.
        """
        return self._step(*map(tf.constant, batch.arrays()), tf.constant(epoch, tf.int64), tf.constant(float(stop)))

    def measure(self, batch: Batch) -> None:
        """Add a validation batch to the sums of :meth:`measured`."""
        self._measure(*map(tf.constant, batch.arrays()))

    def measured(self) -> NDArray[np.float64]:
        """Sums of the validation batches since the last call."""
        found: NDArray[np.float64] = self._measuring.numpy()
        self._measuring.assign(tf.zeros_like(self._measuring))
        return found

    def means(self, sums: NDArray[np.float64], prefix: str = "") -> dict[str, float]:
        """Mean loss and metrics of sums, by name."""
        weight, loss, count = sums[:FIXED]
        found = {f"{prefix}loss": float(loss / max(weight, 1e-30))}
        return found | {
            f"{prefix}{name}": float(value / max(count, 1))
            for name, value in zip(self.names, sums[FIXED:], strict=True)
        }

    # State

    @property
    def learning_rate(self) -> float:
        """In use."""
        return float(np.asarray(self.optimiser.learning_rate))

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.optimiser.learning_rate.assign(value)

    def values(self) -> tuple[list[NDArray[Any]], list[NDArray[Any]], NDArray[np.float64]]:
        """Values of the network's and of the optimiser's variables, and the running sums."""
        return (
            [np.asarray(variable) for variable in self._model_variables()],
            [np.asarray(variable) for variable in self.optimiser.variables],
            self.sums.numpy(),
        )

    def is_finite(self) -> bool:
        """Whether there is neither NaN nor infinity in what would be kept."""
        weights, optimiser, _ = self.values()
        return all(
            bool(np.isfinite(value).all())
            for value in (*weights, *optimiser)
            if np.issubdtype(value.dtype, np.floating)
        )

    def restore(self, weights: Sequence[Any], optimiser: Sequence[Any], sums: Any) -> None:
        """Take values that :meth:`values` gave."""
        for variables, values in ((self._model_variables(), weights), (self.optimiser.variables, optimiser)):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        self.sums.assign(sums)

    def share_chiefs_values(self) -> None:
        """Take the chief's values on all replicas."""
        weights, optimiser, sums = self.values()
        agree = self.together.agree_on
        self.restore(agree(weights), agree(optimiser), agree([sums])[0])

    def _model_variables(self) -> list[Any]:
        return list(self.model.variables)

    # The step

    def _compile(self, xla: bool) -> None:
        """Make the step; where XLA refuses this network, without it."""
        before = self.values()
        if xla:
            try:
                self._build(True)
                self._try()
            except (tf.errors.OpError, ValueError, TypeError, NotImplementedError) as error:
                first = str(error).strip().split("\n")[0]
                logger.warning("XLA cannot compile this step; it is run uncompiled, which is slower: %s", first)
                xla = False
        if not xla:
            self._build(False)
            self._try()
        self.compiled = xla
        self.restore(*before)  # a normalisation has taken note of the signals of the trial

    def _build(self, xla: bool) -> None:
        self._learn = tf.function(self._gradients, jit_compile=xla or None)
        self._judge = tf.function(self._losses, jit_compile=xla or None)
        self._step = tf.function(self._whole_step)
        self._measure = tf.function(self._whole_measure)

    def _try(self) -> None:
        """Compile and run the replica's own part once, with two signals of nothing, before others wait for it."""
        nothing = self._two_signals()
        self._learn(*nothing, tf.constant(0, tf.int64))
        self._judge(*nothing)

    def _two_signals(self) -> tuple[Any, ...]:
        raw = tf.zeros((2, self.facts.samples), self.facts.sample_dtype)
        return raw, tf.zeros(2, tf.int32), tf.zeros(2), tf.constant([-1, -1], tf.int64)

    def _metric_names(self) -> tuple[str, ...]:
        raw, label, _, number = self._two_signals()
        seen = example(raw, label, Key(0, 0, number), self.config, self.task, training=False)
        return tuple(self.task.metrics(self.task.answers(self.model, seen, False), seen))

    def _gradients(self, raw: Any, label: Any, weight: Any, number: Any, epoch: Any) -> Any:
        """Gradient of the summed loss and the sums, one after another in one float32 vector."""
        key = Key(self.config.optimisation.seed, epoch, number)
        seen = example(raw, label, key, self.config, self.task, training=True)
        with tf.GradientTape() as tape:
            outputs = self.task.answers(self.model, seen, True)
            losses = self.task.loss(outputs, seen)
            total = tf.reduce_sum(tf.where(number >= 0, losses * weight, 0.0))
            if self.model.losses:  # regularisation: per signal, so that it counts the same in every split
                total += tf.add_n(self.model.losses) * tf.reduce_sum(tf.cast(number >= 0, weight.dtype))
        variables = self.model.trainable_variables
        gradients = tape.gradient(total, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        parts = [tf.reshape(tf.cast(gradient, tf.float32), [-1]) for gradient in map(tf.convert_to_tensor, gradients)]
        return tf.concat([*parts, self._sums(seen, outputs, losses, weight, number)], 0)

    def _losses(self, raw: Any, label: Any, weight: Any, number: Any) -> Any:
        """Sums of signals that are not learnt from."""
        key = Key(self.config.optimisation.seed, 0, number)
        seen = example(raw, label, key, self.config, self.task, training=False)
        outputs = self.task.answers(self.model, seen, False)
        return self._sums(seen, outputs, self.task.loss(outputs, seen), weight, number)

    def _sums(self, seen: Any, outputs: Any, losses: Any, weight: Any, number: Any) -> Any:
        real = number >= 0
        metrics = self.task.metrics(outputs, seen)
        columns = [weight, losses * weight, tf.ones_like(weight), *(metrics[name] for name in self.names)]
        return tf.stack([tf.reduce_sum(tf.where(real, column, 0.0)) for column in columns])

    def _whole_step(self, raw: Any, label: Any, weight: Any, number: Any, epoch: Any, stop: Any) -> Any:
        flat = self._learn(raw, label, weight, number, epoch)
        moving = [tf.reshape(tf.cast(value, tf.float32), [-1]) for value in self._moving]
        summed = self.together.total(tf.concat([flat, stop[None], *moving], 0))
        sizes = [int(np.prod(shape)) for shape in self._shapes]
        rest = [int(np.prod(value.shape)) for value in self._moving]
        *parts, sums, stops = tf.split(summed[: flat.shape[0] + 1], [*sizes, flat.shape[0] - sum(sizes), 1])
        finite = tf.reduce_all(tf.math.is_finite(summed[: flat.shape[0]]))
        # Per signal, not per weight: a batch of common signals alone must not count as much as one with rare ones.
        scale = 1.0 / tf.maximum(sums[2], 1.0)
        gradients = [
            tf.reshape(tf.where(finite, part * scale, 0.0), shape)
            for part, shape in zip(parts, self._shapes, strict=True)
        ]
        variables = self.model.trainable_variables
        pairs = [
            (tf.cast(gradient, variable.dtype), variable)
            for gradient, variable in zip(gradients, variables, strict=True)
        ]
        self.optimiser.apply_gradients(pairs)
        self.sums.assign_add(tf.where(finite, tf.cast(sums, tf.float64), 0.0))
        averages = tf.split(summed[flat.shape[0] + 1 :], rest) if rest else []
        for variable, value in zip(self._moving, averages, strict=True):  # as of batch normalisation
            variable.assign(tf.cast(tf.reshape(value / self.together.replicas, variable.shape), variable.dtype))
        return tf.stack([stops[0], 1.0 - tf.cast(finite, tf.float32)])

    def _whole_measure(self, raw: Any, label: Any, weight: Any, number: Any) -> None:
        summed = self.together.total(self._judge(raw, label, weight, number))
        self._measuring.assign_add(tf.cast(summed, tf.float64))


def make_optimiser(settings: Optimisation) -> Any:
    """Keras's optimiser of that name."""
    optimisers = tf.keras.optimizers
    if settings.optimiser == "sgd":
        return optimisers.SGD(settings.learning_rate, momentum=settings.momentum)
    return {"adam": optimisers.Adam, "adamw": optimisers.AdamW}[settings.optimiser](settings.learning_rate)
