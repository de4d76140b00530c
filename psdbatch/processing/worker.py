"""The program of a campaign's worker jobs: ``python -m psdbatch.processing.worker``.

Its examination is the golden batch (:mod:`psdbatch.processing.admission`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.cluster.job_worker import JobWorker, run_worker
from psdbatch.config import read_config
from psdbatch.processing.admission import admit
from psdbatch.processing.engines import worker_group


class CampaignWorker(JobWorker):
    """A worker that gives the campaign's answers."""

    def examine(self) -> Mapping[str, Any]:
        """Versions, GPU and golden batch."""
        directory = CampaignDirectory(self.home)
        return admit(directory, worker_group(read_config(directory.config))).facts()


if __name__ == "__main__":
    # By its module's name, as the nanny's child imports the class from there
    from psdbatch.processing.worker import CampaignWorker as Examined

    sys.exit(run_worker(Examined, "psdbatch.processing.worker", "campaign", sys.argv[1:]))
