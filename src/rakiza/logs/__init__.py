"""The log files: `<app>.log`, `_errors`, `_debug`, `_requests` and `_audit`, one JSON object a line, Arabic written as itself.

    import logging
    from pathlib import Path
    from rakiza.logs import Logs
    logs = Logs("noufal", Path("logs"))
    logs.start()
    logging.getLogger("site").info("بدأ الصب")
    logs.record("USER_LOGIN", "LOGIN", "authentication", {"method": "password"}, user_id="7")
    logs.stop()
"""

from .part import part
from .service import Logs
from .settings import LogSettings

__all__ = ["LogSettings", "Logs", "part"]
