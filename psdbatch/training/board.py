"""Event files for TensorBoard: curves of training and validation, learning rate, and what the network says to some signals."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.models.quiet import tf
from psdbatch.networks.chance import Key
from psdbatch.networks.examples import example
from psdbatch.networks.task import both_classes

if TYPE_CHECKING:
    from psdbatch.training.learner import Learner

SHOWN = 12
"""Signals in a picture."""

PICTURES = 10
"""Pictures in a training of the longest possible duration; the first and every new best epoch at a tenth of it."""


_DATA_CLASSES = {"scalars": 1, "images": 3}  # of tensorflow/core/framework/summary.proto


class Board:
    """Writes the event files.

    Parameters
    ----------
    folder
        Gets the runs ``train`` and ``validation``, which TensorBoard draws into the same plots.
    raw, label
        Signals to show.
    epochs
        Of the training at most.
    """

    def __init__(self, folder: Path, raw: NDArray[Any], label: NDArray[Any], epochs: int) -> None:
        self._train = tf.summary.create_file_writer(str(folder / "train"))
        self._validation = tf.summary.create_file_writer(str(folder / "validation"))
        self._raw, self._label = raw[:SHOWN], label[:SHOWN].astype(np.int32)
        self._every = max(1, epochs // PICTURES)

    def epoch(self, row: Mapping[str, float], better: bool, learner: Learner) -> None:
        """Write an epoch's line of the history."""
        number = int(row["epoch"])
        for name, value in row.items():
            writer = self._validation if name.startswith("val_") else self._train
            if name != "epoch":
                with writer.as_default(number):
                    tf.summary.write(
                        name.removeprefix("val_"), tf.constant(value, tf.float32), metadata=_kind("scalars")
                    )
        if number == 1 or number % self._every == 0:
            with self._validation.as_default(number):
                tf.summary.write("signals", tf.constant(self._picture(learner)), metadata=_kind("images"))
        self._train.flush()
        self._validation.flush()

    def _picture(self, learner: Learner) -> list[bytes]:
        """Signals with what the network says of them, as TensorBoard keeps pictures: width, height, PNG."""
        key = Key(0, 0, tf.range(len(self._raw), dtype=tf.int64))
        seen = example(
            tf.constant(self._raw), tf.constant(self._label), key, learner.config, learner.task, training=False
        )
        outputs = learner.task.answers(learner.model, seen, False)
        classes = learner.facts.classes
        windows, truth = seen.window.numpy(), self._label
        if learner.task.name == "classifier":
            scores = both_classes(outputs[0]).numpy()
            titles = [
                f"{classes[right]}: {classes[int(row.argmax())]} {row.max():.2f}"
                for right, row in zip(truth, scores, strict=True)
            ]
            return draw(windows, titles, [])
        curves = [output.numpy() for output in outputs if output.shape == seen.window.shape]
        return draw(windows, [classes[right] for right in truth], curves)


def draw(windows: NDArray[Any], titles: list[str], answers: list[NDArray[Any]]) -> list[bytes]:
    """Draw windows, one small plot each, with the network's curves over them; width, height and content of a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = 4
    rows = -(-len(windows) // columns)
    figure = Figure((columns * 2.4, rows * 1.6), dpi=80, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for number, title in enumerate(titles):
        axes = figure.add_subplot(rows, columns, number + 1)
        axes.plot(windows[number], color="0.4", linewidth=1)
        for answer in answers:
            axes.plot(answer[number], linewidth=1)
        axes.set_title(title, fontsize=7)
        axes.tick_params(labelsize=5)
    content = io.BytesIO()
    canvas.print_png(content)
    width, height = canvas.get_width_height()
    return [str(width).encode(), str(height).encode(), content.getvalue()]


def _kind(plugin: str) -> Any:
    """What tells TensorBoard how to show a value.  Written by hand, as newer TensorFlows come without TensorBoard."""
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = plugin
    metadata.data_class = _DATA_CLASSES[plugin]
    return metadata
