"""Settings of monitoring."""

import math
import re
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

import msgspec

from rakiza._kernel import RoomSettings

from ._core import CHECK, CHECK_BOUNDS, Rule

Percent = Annotated[float, msgspec.Meta(gt=0, le=100)]
OTHERS = {"swap": 90.0, "error_rate": 5.0, "p95": 2000.0, "loop_lag": 500.0}
"""Thresholds of what has no setting of its own: percent, percent of the requests, milliseconds, milliseconds."""

ADDRESS = re.compile(r"[^\s@,;:<>()\"\[\]\\]+@[^\W_](?:[\w.-]*[^\W_])?")
MARGIN = 0.05
"""How far below its threshold a value must be to end an alert."""


class MonitoringSettings(RoomSettings, frozen=True, kw_only=True):
    """Say when a machine or its application is in trouble, and who is told."""

    room: ClassVar[str] = "monitoring"
    env: ClassVar[dict[str, str]] = {
        **{f"{name}_threshold_percent": f"MONITORING_{name.upper()}_THRESHOLD" for name in ("cpu", "ram", "disk")},
        "enabled": "ENABLE_MONITORING",
        "interval_seconds": "MONITORING_INTERVAL",
        "thresholds": "MONITORING_THRESHOLDS",
    }

    enabled: bool = True
    """Take samples and offer `/api/monitoring/*`."""
    interval_seconds: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 60.0
    """Seconds between two of the readings that `summary?last=` counts; samples for charts and alerts are taken every 5 seconds all the same."""
    cpu_threshold_percent: Percent = 80.0
    """Processor use above which there is a warning; in a container with a quota, percent of the quota."""
    ram_threshold_percent: Percent = 85.0
    """Memory use above which there is a warning; in a container with a limit, percent of the limit."""
    disk_threshold_percent: Percent = 90.0
    """Use of the disk of the data folder above which there is a warning."""
    thresholds: str | dict[str, float] = ""
    """Thresholds by name, before the three above (JSON when text): `cpu ram disk swap error_rate` in percent, `p95 loop_lag` in ms; 0 is off."""
    alert_after_seconds: Annotated[float, msgspec.Meta(ge=5, le=86_400)] = 60.0
    """Seconds something must stay above its threshold to raise an alert, and well below it to end one."""
    alert_checks: tuple[str, ...] = ("backup",)
    """The health checks that raise an alert when they are not well for so long: `warn` is a warning, `fail` is critical."""
    alert_webhook_url: str = ""
    """Where each change of an alert is posted as JSON; none when empty."""
    alert_email_to: tuple[str, ...] = ()
    """Who is written to, in both languages, when an alert is raised, becomes critical or ends; nobody when empty. Needs the part mail."""

    def __post_init__(self) -> None:
        """Raise ValueError for thresholds and addresses nobody could use."""
        self.limits()
        wrong = next((address for address in self.alert_email_to if not ADDRESS.fullmatch(address)), None)
        if wrong is not None:
            raise ValueError(f"alert_email_to: {wrong!r} is no address; write user@example.com, with commas between several")
        url = urlsplit(self.alert_webhook_url)
        if self.alert_webhook_url and (url.scheme not in {"http", "https"} or not url.hostname or url.port == 0 or not url.geturl().isascii()):
            raise ValueError("alert_webhook_url must be an http or https address with a host, in ASCII")

    def limits(self) -> dict[str, float]:
        """Return the threshold of everything that is watched."""
        known = {"cpu": self.cpu_threshold_percent, "ram": self.ram_threshold_percent, "disk": self.disk_threshold_percent, **OTHERS}
        try:
            given = msgspec.json.decode(self.thresholds or "{}", type=dict[str, float]) if isinstance(self.thresholds, str) else self.thresholds
        except msgspec.DecodeError as error:
            raise ValueError(f'thresholds must be a JSON object like {{"cpu": 80}}: {error}') from None
        wrong = next((name for name, value in given.items() if name not in known or not math.isfinite(value) or value < 0), None)
        if wrong is not None:
            raise ValueError(f"thresholds: {wrong!r} cannot be {given[wrong]}; there are {', '.join(known)}, none below 0")
        return {name: value for name, value in {**known, **given}.items() if value > 0}

    def rules(self, tick_seconds: float) -> dict[str, Rule]:
        """Return the rule of each alert; critical is halfway to 100 for parts of a capacity, twice the threshold for the rest."""
        readings = math.ceil(self.alert_after_seconds / tick_seconds)
        critical = {name: (value + 100) / 2 if name in {"cpu", "ram", "disk", "swap"} else value * 2 for name, value in self.limits().items()}
        found = {name: Rule((value, critical[name]), value * MARGIN, readings) for name, value in self.limits().items()}
        return found | {f"{CHECK}{name}": Rule(CHECK_BOUNDS, 0.0, readings) for name in self.alert_checks}
