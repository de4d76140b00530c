"""What can go wrong in an evaluation."""

from __future__ import annotations

from psdbatch.errors import PsdbatchError


class EvaluationError(PsdbatchError, ValueError):
    """A figure cannot be had from these signals: one class only, none at all, or arrays that do not belong together."""
