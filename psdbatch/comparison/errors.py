"""What can go wrong in a comparison."""

from __future__ import annotations

from psdbatch.errors import PsdbatchError


class ComparisonError(PsdbatchError, ValueError):
    """Two results do not answer for the same signals, or hold nothing that can be compared."""
