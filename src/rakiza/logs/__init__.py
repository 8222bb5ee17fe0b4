"""The log files: `<app>.log`, `_errors`, `_debug`, `_requests` and `_audit`, one JSON object a line, Arabic written as itself.

    import logging
    from rakiza.logs import log_audit, log_request, setup_logging
    setup_logging(app_name="noufal_erp", log_dir="logs", log_level="INFO")
    logging.getLogger("site").info("بدأ الصب", extra={"concrete_m3": 42})
    log_request("POST", "/api/boq/create", 201, 123.45, user_id=123, ip_address="192.168.1.100", user_agent="Mozilla/5.0")
    log_audit("USER_LOGIN", 123, "LOGIN", "authentication", {"method": "password", "success": True}, "192.168.1.100")

With a platform `integrate(app)` or `init_logging(app)` starts them.
"""

from .calls import init_logging, log_audit, log_metric, log_query, log_request, log_security, setup_logging
from .part import part
from .service import Logs
from .settings import LogSettings

__all__ = ["LogSettings", "Logs", "init_logging", "log_audit", "log_metric", "log_query", "log_request", "log_security", "part", "setup_logging"]
