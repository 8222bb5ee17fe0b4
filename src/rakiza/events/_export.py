"""Write the sealed log to a folder an auditor can verify without this program."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from rakiza.store import utc_text

from . import verifier
from ._canonical import COLUMNS
from ._log import PAGE, StoredLog, leaf
from ._merkle import HASH_BYTES, TILE, split
from ._notes import Signer
from .errors import SealError

README = """Audit trail of {name}: {events} of {size} sealed events.

Verify: python verify.py . [--anchor FILE] [--key KEY]   (Python 3.8 or newer, nothing else)
Compare public_key.txt with the key you were given by another way, and use the checkpoints kept outside the system (--anchor):
without them a history that was cut off or signed anew cannot be told.
events.jsonl: the events, each text exactly as stored.  hashes.txt: the leaf hashes of sealed events outside the exported range.
seals.jsonl: the signed checkpoints.

سجل التدقيق للنظام {name}: {events} من {size} حدث مختوم.

للتحقق: python verify.py . [--anchor FILE] [--key KEY] (بايثون 3.8 أو أحدث فقط)
قارن public_key.txt بالمفتاح الذي استلمته بطريق آخر، واستخدم نقاط التحقق المحفوظة خارج النظام (--anchor): بدونها لا يظهر قطع السجل أو إعادة توقيعه.
events.jsonl: الأحداث ونصوصها كما هي مخزنة. hashes.txt: بصمات الأحداث المختومة خارج المدة المصدرة. seals.jsonl: نقاط التحقق الموقعة.
"""


class Exported(NamedTuple):
    """Count what was written: events, hashes of events outside the range, seals."""

    events: int
    hashes: int
    seals: int


def export(log: StoredLog, signer: Signer, folder: Path, since: datetime | None = None, until: datetime | None = None) -> Exported:
    """Write events recorded in [since, until), all seals, the keys and the verifier to an empty folder.

    Raise SealError for a folder that holds something or an event that cannot be written as text, ValueError for a naive time, OSError.
    """
    bounds = utc_text(since) if since else "", utc_text(until) if until else "~"
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise SealError(f"{folder} is not empty", hint="name a new folder")
    with log.store.raw_connection() as driver, open_text(folder / "events.jsonl") as events, open_text(folder / "hashes.txt") as hashes:
        last = log.last_seal(driver)
        counts = {events: 0, hashes: 0}
        for row, hashed in sealed_events(log, driver, last.size if last else 0):
            inside = bounds[0] <= row[-1] < bounds[1]
            file = events if inside else hashes
            file.write(f"{line(dict(zip((*COLUMNS, 'leaf'), (*row, hashed.hex()), strict=True))) if inside else hashed.hex()}\n")
            counts[file] += 1
        written = Exported(counts[events], counts[hashes], write_seals(log, driver, folder / "seals.jsonl", last.size if last else 0))
    (folder / "public_key.txt").write_text("".join(f"{key}\n" for key in signer.trusted))
    (folder / "verify.py").write_bytes(Path(verifier.__file__).read_bytes())
    (folder / "README.txt").write_text(README.format(name=signer.public.name, events=written.events, size=sum(written[:2])), "utf-8")
    return written


def sealed_events(log: StoredLog, driver: Any, size: int) -> Iterator[tuple[tuple[Any, ...], bytes]]:
    """Yield the raw events up to a size, each with the leaf hash that was stored when it was sealed, or else its own."""
    number, stored, at = -1, list[bytes](), 0
    while page := log.events(driver, at, min(PAGE, size - at)) if at < size else []:
        for row in page:
            if row[0] > size:
                return
            at = row[0]
            if (at - 1) // TILE != number:
                number = (at - 1) // TILE
                hashes = log.tile(driver, 0, number)
                stored = split(hashes) if isinstance(hashes, bytes) and len(hashes) == TILE * HASH_BYTES else []
            own = leaf(row)
            yield row, stored[(at - 1) % TILE] if stored else own


def write_seals(log: StoredLog, driver: Any, path: Path, size: int) -> int:
    """Write the seals up to a size; return how many."""
    count = 0
    with open_text(path) as file:
        for seal in log.seals(driver):
            if seal.size <= size:
                root = seal.root.hex() if isinstance(seal.root, bytes) else str(seal.root)
                file.write(f"{line({**seal._asdict(), 'root': root})}\n")
                count += 1
    return count


def open_text(path: Path) -> Any:
    """Open a new file for text that is written alike on every system."""
    return path.open("x", encoding="utf-8", newline="\n")


def line(record: dict[str, object]) -> str:
    """Return the one form a record has in the export."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))
