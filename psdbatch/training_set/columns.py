"""The columns of a training set, declared once."""

from __future__ import annotations

from psdbatch.columns import AMPLITUDE, BOARD, CHANNEL, CHARGE_LONG, CHARGE_SHORT, FLAGS, TIMESTAMP, Column, scalar

LABEL = scalar("label", "uint8", "class of the signal, as index into the set's classes")
ENERGY = scalar("energy", "float32", "light output where the source knows it, else NaN", "keVee")
SOURCE = scalar("source", "uint16", "source of the signal, as index into the set's sources")
RUN = scalar("run", "uint16", "run of the signal, as index into the runs of the set's provenance")
FILE = scalar("file", "uint16", "file of the signal, as index into the files of the set's provenance")
NUMBER = scalar("number", "uint64", "position of the signal in its file, from 0")

SCALARS = (
    LABEL,
    BOARD,
    CHANNEL,
    TIMESTAMP,
    AMPLITUDE,
    CHARGE_LONG,
    CHARGE_SHORT,
    FLAGS,
    ENERGY,
    SOURCE,
    RUN,
    FILE,
    NUMBER,
)
"""One number per signal each; together with the file they say which signal it was."""


def samples_column(samples: int, dtype: str) -> Column:
    """Column of the raw signals, ``samples`` ADC values each."""
    return Column("samples", dtype, "raw samples as recorded", "ADC units", shape=(samples,), dimensions=("sample",))


def set_columns(samples: int, dtype: str) -> tuple[Column, ...]:
    """All columns of a set whose signals have ``samples`` samples of ``dtype``."""
    return (samples_column(samples, dtype), *SCALARS)
