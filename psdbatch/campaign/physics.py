"""Physics of a whole campaign in one small file.

A pass leaves it behind, so that a later campaign that is compared with this one reads it instead of a million commit
records.  The records stay the truth: the file counts only while it is about as many blocks of the same plan as there are.
"""

from __future__ import annotations

import json

from psdbatch.campaign import files
from psdbatch.campaign.account import Account
from psdbatch.campaign.directory import CampaignDirectory
from psdbatch.campaign.plan import Plan
from psdbatch.monitor.tally import Tally


def keep_physics(directory: CampaignDirectory, account: Account) -> None:
    """Write the sum of all tallies, if there is any; ``account`` holds all commit records."""
    if account.tally is None:
        return
    facts = {
        "plan": account.plan.fingerprint,
        "blocks": account.totals["finished"],
        "tally": account.tally.encode(),
    }
    files.replace_durably(directory.physics, json.dumps(facts, indent=1).encode())


def kept_physics(directory: CampaignDirectory, plan: Plan, finished: int | None = None) -> Tally | None:
    """What :func:`keep_physics` wrote; None if that is missing, damaged, or not about the ``finished`` blocks there are now.

    Without ``finished`` they are counted.
    """
    try:
        facts = json.loads(directory.physics.read_bytes())
        if facts["plan"] != plan.fingerprint or facts["blocks"] != (
            sum(1 for _ in directory.committed()) if finished is None else finished
        ):
            return None
        return Tally.decode(facts["tally"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
