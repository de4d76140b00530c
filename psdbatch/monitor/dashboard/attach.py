"""The page in a running scheduler's dashboard, with a link in its menu."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from distributed import Scheduler
from tornado.ioloop import IOLoop

from psdbatch.monitor.dashboard import PAGE
from psdbatch.monitor.view import View


@dataclass(frozen=True)
class AttachedPage:
    """The page while it can be opened.

    Attributes
    ----------
    tabs
        How many browsers show it.
    detach
        Takes it away again; in the scheduler's thread.
    """

    tabs: Callable[[], int]
    detach: Callable[[], None]


def attach(scheduler: Scheduler, look: Callable[[], View]) -> AttachedPage:
    """Add the page to the scheduler's dashboard.  In the scheduler's thread.

    The dashboard has no list to which pages could be added once it runs; but it is one of several applications of the
    scheduler's web server, made by public functions of distributed, and so is this page.  The menu is drawn from one
    list that all of its pages hold.
    """
    from distributed.dashboard.core import BokehApplication
    from distributed.dashboard.scheduler import template_variables

    from psdbatch.monitor.dashboard.document import document

    menu = template_variables(scheduler)
    application = BokehApplication({f"/{PAGE}": partial(_page, document, look)}, scheduler, template_variables=menu)
    scheduler.http_application.add_application(application)
    application.initialize(IOLoop.current())
    application.start()
    menu["pages"].insert(0, PAGE)

    def detach() -> None:
        menu["pages"].remove(PAGE)
        scheduler.http_application.applications.remove(application)
        application.stop()

    return AttachedPage(lambda: len(application.get_sessions(f"/{PAGE}")), detach)


def _page(document: Any, look: Callable[[], View], scheduler: Scheduler, extra: Any, doc: Any) -> None:
    document(look, scheduler, extra, doc)
