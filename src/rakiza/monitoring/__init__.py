"""Monitoring: samples of machine, container and requests, charts that survive restarts, alerts with hysteresis.

    from rakiza.monitoring import SystemMonitor
    monitor = SystemMonitor(warning_threshold={"cpu": 80.0, "ram": 85.0, "disk": 90.0})
    assert 0 <= monitor.get_current_metrics().cpu_percent <= 100
    assert monitor.get_health_status()["status"] in {"healthy", "warning", "critical"}
"""

from rakiza._kernel import attach

from ._alerts import Alert
from ._host import SystemMetrics
from .part import part
from .service import SystemMonitor
from .settings import MonitoringSettings

__all__ = ["Alert", "MonitoringSettings", "SystemMetrics", "SystemMonitor", "init_monitoring", "part"]


def init_monitoring(app: object) -> SystemMonitor:
    """Give `app` monitoring and return the monitor."""
    return attach(app, "monitoring", SystemMonitor)
