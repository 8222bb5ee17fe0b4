"""The outbox on a disk that takes no more: no half message is left, the error says why, and it goes on when there is room."""

from collections.abc import Callable
from pathlib import Path

from servers import Child

SOURCE = """
import resource, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from rakiza.mail import Mail, MailUnavailableError
from rakiza.mail._backends.outbox import Outbox
from rakiza.mail._core import address
from rakiza.mail._message import Letter

mail = Mail(to="sara@example.com", subject="مرحباً", body="محتوى الرسالة " * 100)
letter = Letter(mail, address("نوفل <no-reply@localhost>"), "<one@localhost>", datetime(2026, 11, 27, tzinfo=UTC))
outbox, hard = Outbox(Path(sys.argv[1])), resource.getrlimit(resource.RLIMIT_FSIZE)[1]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
try:
    outbox.deliver(letter)
except MailUnavailableError as error:
    said = error.detail
left = list(outbox.folder.iterdir())
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
outbox.deliver(letter)
print(said)
print("left", left, "kept", len(outbox.names()))
"""


def test_a_full_disk_leaves_no_half_message(python_process: Callable[..., Child], tmp_path: Path) -> None:
    child = python_process(SOURCE, str(tmp_path / "outbox"))
    assert child.wait_for("cannot be written") == f"{tmp_path / 'outbox'} cannot be written: File too large"
    child.wait_for("left [] kept 1")
