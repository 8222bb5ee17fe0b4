"""Health: background checks with timeouts, and the probes `/livez /readyz /startupz /healthz` that only read what was seen.

    from rakiza._kernel import CheckResult
    from rakiza.health import Health
    health = Health()
    health.add_check("printer", lambda: CheckResult("warn", output="out of paper"), required=False)
    health.wait()
    assert health.report(with_details=False) == {"status": "warn"}
"""

from ._core import Observation, overall
from .part import part
from .service import Health
from .settings import HealthSettings

__all__ = ["Health", "HealthSettings", "Observation", "overall", "part"]
