"""How workers are named."""

GROUP, NAME = "PSDBATCH_GROUP", "PSDBATCH_WORKER"
"""Environment of a worker: its group and its own name."""


def group_of(name: str) -> str:
    """The group of a worker: names are ``GROUP-NUMBER``."""
    return name.rpartition("-")[0]
