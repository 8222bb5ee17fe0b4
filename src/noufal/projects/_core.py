"""Rules of projects, without I/O."""

import re
from datetime import date

from noufal.money import refused

CODE_PATTERN = re.compile(r"[\w][\w.\-]{0,39}")
CURRENCY_PATTERN = re.compile(r"[A-Z]{3}")


def check_dates(start: date | None, finish: date | None) -> None:
    """Raise ValidationError when a project would finish before it starts."""
    if start is not None and finish is not None and finish < start:
        raise refused("finish_date", "is before the start", "تاريخ النهاية قبل تاريخ البداية")
