"""The commands: parse, call, print.  No logic here, and nothing heavy is imported before a command runs."""

from __future__ import annotations

import click

from psdbatch import __version__
from psdbatch.cli import (
    campaign,
    comparison,
    evaluation,
    files,
    init,
    interfaces,
    quality,
    report,
    results,
    training,
    training_set,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="psdbatch")
def cli() -> None:
    """Reprocess archives of detector pulses with a frozen TensorFlow model.

    Acquisition files in, a Zarr store out.  Exit codes: 0 all fine, 1 error, 2 wrong command line, 3 finished but some
    signals were refused, 4 unfinished or interrupted, 5 audit failed.
    """


for command in (
    init.init,
    campaign.plan,
    campaign.run,
    campaign.submit,
    campaign.status,
    campaign.logs,
    campaign.cancel,
    campaign.audit,
    campaign.plot,
    report.report,
    quality.quality,
    results.export,
    files.index,
    files.inspect,
    files.convert,
    files.simulate,
    training_set.build_set,
    training.train,
    training.freeze,
    evaluation.evaluate,
    comparison.diff,
    interfaces.completion,
    interfaces.schema,
):
    cli.add_command(command)
