"""Mail the administrators each morning what became of the projects."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from noufal.boq import bill_sums
from noufal.boq.tables import bill_import, item
from noufal.projects.tables import project
from rakiza._kernel import DEFAULT_TENANT, Clock, Ports, current
from rakiza.jobs import Jobs, RunningJob
from rakiza.security import Security
from rakiza.store import Store

from ._core import ProjectDay, in_arabic, in_english

SUMMARY = "noufal:summary"
EACH_MORNING, RIYADH = "0 5 * * *", "Asia/Riyadh"
ADMIN = "admin"


class Summaries:
    """Sum the last day up, project by project, and mail it to the administrators."""

    def __init__(self, store: Store, clock: Clock, security: Security, ports: Ports, public_url: str) -> None:
        self._store, self._clock, self._security, self._ports = store, clock, security, ports
        self._link = f"{public_url.rstrip('/')}/projects"

    def serve(self, jobs: Jobs) -> None:
        """Let workers send it."""
        jobs.job(SUMMARY, max_attempts=5)(self.work)

    @staticmethod
    def schedule(jobs: Jobs) -> None:
        """Have it sent each morning at five in Riyadh; a person may change that; blocks."""
        jobs.schedules.declare(SUMMARY, SUMMARY, cron=EACH_MORNING, timezone=RIYADH)

    def days(self, since: datetime) -> list[ProjectDay]:
        """Return every project of the tenant as it is and what was done with its bill since a moment; blocks."""
        tenant = context.tenant if (context := current()) else DEFAULT_TENANT
        sums = bill_sums().subquery()
        shown = (project.c.code, project.c.name, project.c.name_en, project.c.currency)
        listed = select(project.c.id, *shown, sums.c["items"].label("lines"), sums.c.amount).outerjoin(sums, sums.c.project_id == project.c.id)
        number = func.count().label("number")
        touched = select(item.c.project_id, number).where(item.c.tenant_id == tenant, item.c.updated_at >= since)
        brought = select(bill_import.c.project_id, number).where(bill_import.c.tenant_id == tenant, bill_import.c.imported_at >= since)
        with self._store.read() as tx:
            rows = tx.execute(listed.where(project.c.tenant_id == tenant)).all()
            changed = {row.project_id: row.number for row in tx.execute(touched.group_by(item.c.project_id))}
            imports = {row.project_id: row.number for row in tx.execute(brought.group_by(bill_import.c.project_id))}
        return [
            ProjectDay(
                code=row.code,
                name=row.name,
                name_en=row.name_en,
                currency=row.currency,
                items=int(row.lines or 0),
                total=int(row.amount or 0),
                changed=changed.get(row.id, 0),
                imports=imports.get(row.id, 0),
            )
            for row in rows
        ]

    def work(self, job: RunningJob) -> dict[str, int]:
        """Be the job: a mail to each administrator, all or none; nothing where there is no project."""
        moment = job.scheduled_for or self._clock.now()
        days = self.days(moment - timedelta(days=1))
        to = [user.email for user in self._security.list_users() if user.role == ADMIN and user.email and not user.disabled] if days else []
        data = {"application": "noufal", "date": moment.astimezone(ZoneInfo(RIYADH)).date().isoformat(), "link": self._link}
        data |= {"summary_ar": in_arabic(days), "summary_en": in_english(days)}
        with self._store.begin() as tx:
            for address in to:
                self._ports.mailer.send([address], template="nightly_summary", data=data, tx=tx)
        return {"projects": len(days), "mails": len(to)}
