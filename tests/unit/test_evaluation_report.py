"""Pages of a report in unusual cases: several classes, no answers, no charge ratio, words that are no HTML."""

from __future__ import annotations

import math
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from psdbatch.evaluation.evaluation import Scored, evaluate
from psdbatch.evaluation.pages import classifier_sections
from psdbatch.evaluation.tables import evaluation_table
from psdbatch.monitor.page import page, table

Array = NDArray[Any]


def scored(classes: int, n: int = 400) -> Scored:
    """Signals whose scores know most of the truth."""
    random = np.random.default_rng(1)
    truth = random.integers(0, classes, n)
    scores = np.exp(random.normal(3.0 * np.eye(classes)[truth], 1.0))
    scores /= scores.sum(axis=1, keepdims=True)
    return Scored(
        scores, truth, random.uniform(10, 100, n), np.full(n, math.nan), 0.1 * truth + 0.05 * random.random(n)
    )


class Balance(HTMLParser):
    """Counts open elements."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def shown(signals: Scored, classes: tuple[str, ...]) -> str:
    """The whole page, checked to be well formed."""
    figures = evaluate(signals, classes, amplitudes=(10, 40, 100))
    assert evaluation_table(figures).row_count == 3
    text = page("<model>", {"file": "a & b"}, figures.notes, classifier_sections(figures, signals))
    checker = Balance()
    checker.feed(text)
    assert checker.open == []
    assert "<h1>&lt;model&gt;</h1>" in text
    assert "a &amp; b" in text
    assert "nan" not in text.lower().split("<svg")[0].replace("(nan)", "")
    return text


def test_several_classes_have_a_calibration_each_and_no_charge_comparison() -> None:
    text = shown(scored(3), ("gamma", "neutron", "alpha"))
    assert text.count("Calibration of class") == 3
    assert "charge: accuracy" not in text


def test_identifiers_of_the_plots_do_not_meet() -> None:
    text = shown(scored(2), ("gamma", "neutron"))
    clips = [part.split('"')[0] for part in text.split('<clipPath id="')[1:]]
    assert len(clips) == len({*clips})


@pytest.mark.parametrize("what", ["scores", "charge_ratio"])
def test_a_report_without_scores_or_without_charge_ratios_is_one_all_the_same(what: str) -> None:
    signals = scored(2)
    getattr(signals, what)[:] = math.nan
    text = shown(signals, ("gamma", "neutron"))
    if what == "scores":
        assert "400 signals have no answer (NaN)" in text
        assert "no signal has a score to calibrate" in text


def test_cells_are_words_for_people() -> None:
    text = table(["name", "value"], [["a", 1234567], ["b", None], ["c", 0.123456], ["d", math.nan], ["<", [1, 2]]])
    for expected in ("1,234,567", "–", "0.1235", "&lt;", "1, 2"):
        assert f"<td>{expected}</td>" in text
