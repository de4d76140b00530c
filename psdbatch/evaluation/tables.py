"""The figures in short, for the terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from psdbatch.evaluation.evaluation import Classification, WindowFigures
from psdbatch.evaluation.reconstruction import Reconstruction
from psdbatch.monitor.shares import Share


def evaluation_table(figures: Classification | Reconstruction) -> Table:
    """Figures in windows, and over all signals at the end."""
    return _classifier(figures) if isinstance(figures, Classification) else _reconstruction(figures)


def _classifier(found: Classification) -> Table:
    windows, unit = (found.by_energy, "keVee") if found.by_energy else (found.by_amplitude, "ADC units")
    table = Table(box=None, pad_edge=False)
    for name in (unit, "signals", "accuracy", "charge comparison", "difference", "area under ROC", "of charge ratio"):
        table.add_column(name, justify="left" if name == unit else "right")
    for window in windows:
        table.add_row(f"{window.low:g} - {window.high:g}", f"{sum(window.counts):,}", *_window(window))
    network, charge = found.by_class[0].network, found.charge
    table.add_section()
    table.add_row(
        "all",
        f"{sum(found.counts):,}",
        _share(found.accuracy),
        _share(found.charge_accuracy),
        _difference(found.gain),
        _area(network),
        _area(charge),
    )
    return table


def _window(window: WindowFigures) -> tuple[str, ...]:
    if window.accuracy is None:
        return (window.reason,)
    areas = _area(window.network), _area(window.charge)
    return _share(window.accuracy), _share(window.charge_accuracy), _difference(window.gain), *areas


def _share(value: Share | None) -> str:
    return "" if value is None else f"{value.value:.4f} ± {(value.high - value.low) / 2:.4f}"


def _difference(value: Any) -> str:
    return "" if value is None else f"{value.value:+.4f} ± {value.sigma:.4f}"


def _area(found: Any) -> str:
    return "" if found is None or found.area is None else f"{found.area:.5f}"


def _reconstruction(found: Reconstruction) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("amplitude [ADC units]", "signals", "rms error [ADC units]", "rms error / noise", "gain [dB]"):
        table.add_column(name, justify="left" if name.startswith("amplitude") else "right")
    for window in (*found.by_amplitude, found.whole):
        if window.error is None:
            table.add_row(window.name, "0", window.reason)
            continue
        relative = window.relative_to_noise
        table.add_row(
            window.name,
            f"{window.error.signals:,}",
            f"{window.error.mean:.3g} ± {window.error.mean_sigma:.2g}",
            "" if relative is None else f"{relative.mean:.3g} ± {relative.mean_sigma:.2g}",
            "" if window.gain_db is None else f"{window.gain_db:.2f} ± {window.gain_sigma_db:.2f}",
        )
    return table
