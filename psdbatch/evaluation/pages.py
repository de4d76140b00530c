"""What the report shows of a classifier, and of a network that answers with a signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psdbatch.evaluation import plots, signal_plots
from psdbatch.evaluation.classification import checked_scores, evidence
from psdbatch.evaluation.counting import Difference
from psdbatch.evaluation.evaluation import Classification, Scored, WindowFigures
from psdbatch.evaluation.reconstruction import (
    Distribution,
    Reconstructed,
    Reconstruction,
    ReconstructionWindow,
)
from psdbatch.evaluation.roc import Efficiency
from psdbatch.evaluation.separation import Merit, Separation
from psdbatch.monitor.page import picture, section, table, text
from psdbatch.monitor.shares import Share

Array = NDArray[Any]

TABLE_NOTE = (
    "± is half the interval of one standard deviation; evaluation.json holds both ends. Efficiencies are those of neutrons with 99 % of the "
    "gammas rejected; * fewer than ten gammas lie beyond the threshold."
)


def classifier_sections(found: Classification, signals: Scored) -> list[str]:
    """Sections of a classifier's report."""
    scores, truth = checked_scores(signals.scores, signals.truth, len(found.classes))
    main = next(entry for entry in found.by_class if entry.name == found.positive)
    finest, unit = (found.by_energy, plots.ENERGY) if found.by_energy else (found.by_amplitude, plots.AMPLITUDE)
    ratio = signals.charge_ratio if found.charge is not None else None
    number = found.classes.index(found.positive)
    sections = [
        section("Summary", _summary(found)),
        section("Confusion matrix", _confusion(found)),
        section(
            "Separation",
            picture(
                plots.roc_plot(main.network, found.charge, finest, unit),
                f"Operating points of the network and of the charge ratio on the same signals; {found.positive} is the class asked for.",
            ),
            _class_table(found),
            picture(
                plots.parameter_plot(evidence(scores, number), ratio, truth, found.classes, found.positive),
                "What the two methods cut in, by true class; the outermost bins hold what lies beyond.",
            ),
        ),
    ]
    for windows, words in ((found.by_energy, plots.ENERGY), (found.by_amplitude, plots.AMPLITUDE)):
        if windows:
            sections.append(section(f"Against {words.split(' [')[0]}", *_window_parts(windows, words, found)))
    for entry in found.by_class:
        shown = (
            picture(
                plots.calibration_plot(entry.calibration, entry.name),
                "A calibrated score lies on the line; error bars are Wilson intervals of 68 %. 'By chance' is the error "
                "a perfectly calibrated score would show with so many signals.",
            )
            if entry.calibration
            else text(entry.reason)
        )
        sections.append(section(f"Calibration of class {entry.name}", shown))
    return sections


def _summary(found: Classification) -> str:
    rows: list[list[Any]] = [
        ["accuracy of the network [%]", _share(found.accuracy)],
        ["mean of the classes' accuracies [%]", f"{100 * found.balanced_accuracy:.2f}"],
    ]
    if found.charge_accuracy is not None:
        rows.append(["accuracy of the charge comparison [%]", _share(found.charge_accuracy)])
        rows.append(["network minus charge comparison [percentage points]", _difference(found.gain)])
    rows.append(["signals without an answer", found.unanswered])
    return table(["", "all signals"], rows) + text(
        "Uncertainties are intervals of one standard deviation: Wilson's for fractions, for the difference the scatter of signals on "
        "which the two methods disagree. The charge comparison has the best cut of each window of amplitude, learnt on other signals."
    )


def _confusion(found: Classification) -> str:
    rows = [
        [name, *(int(value) for value in row), f"{100 * row[k] / max(row.sum(), 1):.2f} %"]
        for k, (name, row) in enumerate(zip(found.classes, found.confusion, strict=True))
    ]
    return table(["truth", *(f"called {name}" for name in found.classes), "no answer", "right"], rows)


def _class_table(found: Classification) -> str:
    rejections = [entry.rejection for entry in found.by_class[0].network.efficiencies]
    rows = [_separation_row(f"network, {entry.name}", entry.network) for entry in found.by_class]
    if found.charge is not None:
        rows.append(_separation_row("charge ratio", found.charge))
    head = ["", "area under the ROC", *(f"efficiency [%] at {100 * one:g} % rejection" for one in rejections)]
    return table([*head, "figure of merit"], rows) + text("* fewer than ten gammas lie beyond the threshold.")


def _separation_row(name: str, found: Separation) -> list[Any]:
    area = "–" if found.area is None else f"{found.area:.5f} ± {found.area_sigma:.5f}"
    return [name, area, *(_efficiency(entry) for entry in found.efficiencies), _merit(found.merit)]


def _window_parts(windows: Sequence[WindowFigures], unit: str, found: Classification) -> list[str]:
    two = found.charge is not None
    parts = (
        [picture(plots.accuracy_plot(windows, unit), "Bars are uncertainties of one standard deviation.")]
        if two
        else []
    )
    parts.append(table(*_window_table(windows, unit, found)))
    parts.append(text(TABLE_NOTE))
    if two:
        parts += [
            '<div style="display:flex;flex-wrap:wrap">',
            picture(plots.efficiency_plot(windows, unit, 1), "Threshold of each window chosen for the rejection."),
            picture(
                plots.merit_plot(windows, unit),
                "Fits without truth; a window without two peaks has no point. The logit's peaks are wide and not Gaussian: where the two disagree, believe the ROC.",
            ),
            "</div>",
        ]
    return parts


def _window_table(
    windows: Sequence[WindowFigures], unit: str, found: Classification
) -> tuple[list[str], list[list[Any]]]:
    head = [unit, *found.classes, "accuracy [%]"]
    if found.charge is None:
        head += ["area under ROC", "efficiency [%]", "figure of merit"]
    else:
        head += ["charge: accuracy [%]", "difference [points]", "area under ROC", "charge: area", "efficiency [%]"]
        head += ["charge: efficiency [%]", "figure of merit", "charge: merit"]
    rows = []
    for window in windows:
        row: list[Any] = [f"{window.low:g} – {window.high:g}", *window.counts]
        if window.accuracy is None:
            rows.append([*row, window.reason])
            continue
        row.append(_share(window.accuracy))
        if found.charge is None:
            rows.append([*row, *_cells(window.network)])
            continue
        row += [_share(window.charge_accuracy), _difference(window.gain)]
        pairs = zip(_cells(window.network), _cells(window.charge), strict=True)
        rows.append([*row, *(cell for both in pairs for cell in both)])
    return head, rows


def _cells(found: Separation | None) -> tuple[str, str, str]:
    if found is None:
        return "–", "–", "–"
    area = "–" if found.area is None else f"{found.area:.4f}"
    effective = next((entry for entry in found.efficiencies if abs(entry.rejection - 0.99) < 1e-9), None)
    return area, "–" if effective is None else _efficiency(effective), _merit(found.merit)


def reconstruction_sections(
    found: Reconstruction, signals: Reconstructed, pictures: Mapping[str, Array], classes: Sequence[str]
) -> list[str]:
    """Sections of the report on a network that answers with a signal."""
    sections = [section("Summary", _reconstruction_summary(found))]
    sections.append(
        section("Signals", picture(signal_plots.picture_plot(pictures, found.task), "The first signals of the part."))
    )
    caption = "A perfect auto-encoder lies just under 1 relative to the noise: it cannot know the noise."
    if found.task in ("autoencoder", "variational"):
        parts = [picture(signal_plots.error_plot(found), caption)]
    else:
        parts = [picture(signal_plots.gain_plot(found), "Error bars: scatter of the signals' powers.")]
        parts.append(picture(signal_plots.error_plot(found), "Error of the answer against the clean signal."))
    sections.append(
        section("Against amplitude", *parts, table(*_reconstruction_table(found.by_amplitude, "amplitude")))
    )
    sections.append(
        section(
            "By class",
            picture(signal_plots.residual_plot(signals, classes), "The outermost bins hold what lies beyond."),
            table(*_reconstruction_table(found.by_class, "class")),
        )
    )
    return sections


def _reconstruction_summary(found: Reconstruction) -> str:
    whole = found.whole
    rows: list[list[Any]] = [["signals", found.signals]]
    if found.compression is not None:
        saved = found.compression
        rows.append(
            [
                "compression",
                f"{saved.samples} samples to {saved.numbers} numbers: {saved.ratio:.1f}; in bits {saved.bit_ratio:.1f}",
            ]
        )
    rows.append(["rms error [ADC units]", _distribution(whole.error)])
    rows.append(["rms error / noise", _distribution(whole.relative_to_noise)])
    if whole.gain_db is not None:
        rows.append(["gain [dB]", f"{whole.gain_db:.2f} ± {whole.gain_sigma_db:.2f}"])
    if whole.second_error is not None:
        rows.append(["second pulse: rms error [ADC units]", _distribution(whole.second_error)])
        rows.append(["relative error of the first charge", _distribution(whole.first_charge)])
        rows.append(["relative error of the second charge", _distribution(whole.second_charge)])
    return table(["", "mean ± its uncertainty (median; 16 % – 84 %)"], rows)


def _reconstruction_table(windows: Sequence[ReconstructionWindow], name: str) -> tuple[list[str], list[list[Any]]]:
    head = [
        name,
        "signals",
        "rms error [ADC units]",
        "rms error / noise",
        "gain [dB]",
        "second pulse: error",
        "second pulse: gain [dB]",
    ]
    rows: list[list[Any]] = []
    for window in windows:
        if window.error is None:
            rows.append([window.name, 0, window.reason])
            continue
        rows.append(
            [
                window.name,
                window.error.signals,
                _distribution(window.error),
                _distribution(window.relative_to_noise),
                None if window.gain_db is None else f"{window.gain_db:.2f} ± {window.gain_sigma_db:.2f}",
                _distribution(window.second_error),
                None if window.second_gain_db is None else f"{window.second_gain_db:.2f}",
            ]
        )
    filled = [k for k in range(len(head)) if k < 2 or any(len(row) > k and row[k] not in (None, "–") for row in rows)]
    return [head[k] for k in filled], [[row[k] for k in filled if k < len(row)] for row in rows]


def _distribution(values: Distribution | None) -> str:
    if values is None:
        return "–"
    low, middle, high = values.quantiles
    return f"{values.mean:.4g} ± {values.mean_sigma:.2g} ({middle:.3g}; {low:.3g} – {high:.3g})"


def _share(value: Share | None) -> str:
    if value is None:
        return "–"
    return f"{100 * value.value:.2f} ± {50 * (value.high - value.low):.2f}"


def _difference(value: Difference | None) -> str:
    return "–" if value is None else f"{100 * value.value:+.2f} ± {100 * value.sigma:.2f}"


def _efficiency(value: Efficiency) -> str:
    return f"{100 * value.value:.1f} ± {50 * (value.high - value.low):.1f}{'*' if value.few else ''}"


def _merit(value: Merit) -> str:
    if value.value is None or value.uncertainty is None or not np.isfinite(value.uncertainty):
        return "–"
    return f"{value.value:.2f} ± {value.uncertainty:.2f}"
