"""Notifications: what the ERP mails on its own, in both languages.

    from noufal.app import create_platform
    from noufal.part import Erp
    from noufal.projects import NewProject
    from noufal.seed import COMMAND_LINE
    platform = create_platform()
    platform.ctx.works = False  # this process only looks
    platform.start()
    erp = platform.service("noufal", Erp)
    erp.projects.create(COMMAND_LINE, NewProject(code="VILLA-09", name="فيلا النرجس"))
    days = erp.summaries.days(platform.ctx.clock.now())
    assert [(day.code, day.items, day.total) for day in days] == [("VILLA-09", 0, 0)]
    platform.shutdown()
"""

from ._core import ProjectDay
from .service import SUMMARY, Summaries

__all__ = ["SUMMARY", "ProjectDay", "Summaries"]
