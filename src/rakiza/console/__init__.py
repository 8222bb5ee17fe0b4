"""The operations console: the built pages under `/console/`, which read the operator API of the other rooms under `/_rakiza/api/`.

    from rakiza.console import Console
    console = Console()
    assert {"/console", "/console/", "/console/{rest:path}"} <= {route.path for route in console.routes()}
"""

from .part import part
from .service import Console
from .settings import ConsoleSettings

__all__ = ["Console", "ConsoleSettings", "part"]
