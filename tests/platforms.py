"""The same platform around applications of three kinds, for processes that must build it again."""

import os
from pathlib import Path

from flask import Flask

from noufal.app import create_platform
from rakiza import Platform, integrate
from rakiza.backup import init_backup
from rakiza.caching import init_cache
from rakiza.hub import platform_of


def flask(url: str, home: Path) -> Platform:
    """Build one around a Flask application."""
    app = Flask("site")
    app.config.update(DATABASE_URL=url, BACKUP_DIR=home / "نسخ", RAKIZA_HUB_HOME=str(home), RAKIZA_LOGS_CONSOLE=False, UNKNOWN=object())
    init_backup(app)
    init_cache(app)
    found = platform_of(app)
    assert found is not None
    return found


async def bare(scope: object, receive: object, send: object) -> None:
    """Do nothing."""


def asgi(url: str, home: Path) -> Platform:
    """Build one around an ASGI application."""
    rooms = {"hub": {"home": home, "name": "نوفل"}, "store": {"database_url": url}, "logs": {"console": False}}
    return integrate(bare, rooms, monitoring=False, backup={"max_backups": 5})


def erp(url: str, home: Path) -> Platform:
    """Build that of the ERP."""
    rooms = {"noufal": {"home": home}, "store": {"database_url": url}, "logs": {"console": False}}
    return create_platform(rooms, environ={"NOUFAL_ADMIN_PASSWORD": "كلمة مرور طويلة بما يكفي", "PATH": os.defpath})
