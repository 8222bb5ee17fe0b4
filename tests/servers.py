"""Start real PostgreSQL and Redis for tests from the installed binaries, on sockets and ports of their own, thrown away with the run.

One folder belongs to a run of pytest and all its workers. A shell that reads a pipe from the first process stops every server and removes
the folder when that process ends, however it ends.
"""

import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Self

import psutil
import psycopg
from psycopg import sql

import forks
import patience

FOLDER_VARIABLE = "RK_TEST_FOLDER"
START_SECONDS = 30
FILE_COPY_SINCE = 15_00_00
NEW_INTERPRETER = {"PYTHONUNBUFFERED": "1"}
"""Given to a process whose memory is measured: what a forked one shares with its parent would count as its own when it is first touched."""
LONGEST_FOLDER = 60  # a unix socket path has at most 107 bytes

FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
COMMON = {"listen_addresses": "", "shared_buffers": "64MB", "max_connections": "200", "log_min_messages": "warning"}

# a server is known by its working folder, so that a process number used again is never hit
WATCHDOG = """
read -r _
alive() { case $(readlink "/proc/$1/cwd") in "$folder"/*) return 0 ;; esac; return 1; }
folder=$1
for file in "$folder"/*.pid; do
    [ -e "$file" ] && read -r pid <"$file" && alive "$pid" && kill -CONT "$pid" && kill -INT "$pid"
done
for file in "$folder"/*.pid; do
    [ -e "$file" ] && read -r pid <"$file" || continue
    tries=0
    while alive "$pid" && [ $tries -lt 50 ]; do sleep 0.05; tries=$((tries + 1)); done
    alive "$pid" && kill -KILL "$pid"
done
rm -rf "$folder"
"""


class MissingBinaryError(Exception):
    """Say which program a test needs and this machine has not."""


class Run:
    """Own the folder of one run of pytest, and the watchdog that cleans up after it."""

    def __init__(self) -> None:
        """Make the folder and start the watchdog."""
        base = tempfile.gettempdir() if len(tempfile.gettempdir()) < LONGEST_FOLDER // 2 else "/tmp"  # noqa: S108
        self.folder = Path(tempfile.mkdtemp(prefix="rk", dir=base))
        self.folder.chmod(0o711)  # the database's user passes through
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", WATCHDOG, "watchdog", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        os.environ[FOLDER_VARIABLE] = str(self.folder)  # the workers of xdist inherit it

    def close(self) -> None:
        """Stop every server and remove the folder."""
        os.environ.pop(FOLDER_VARIABLE, None)
        if self._watchdog.stdin:
            self._watchdog.stdin.close()
        self._watchdog.wait(timeout=START_SECONDS)


def run_folder() -> Path:
    """Return the folder of this run."""
    return Path(os.environ[FOLDER_VARIABLE])


def new_folder(kind: str) -> Path:
    """Make a folder in that of the run, under a name nobody had before: what stands there is removed at the end of the run only."""
    return Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=run_folder()))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock among all processes of the run."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Postgres:
    """Make databases on one server."""

    def __init__(self, socket_folder: str) -> None:
        """Use the server whose socket is in this folder."""
        self.socket_folder = socket_folder

    def url(self, database: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.socket_folder}"

    @contextlib.contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Yield the URL of a fresh database cut from a template, and drop it with its connections."""
        name = f"t{uuid.uuid4().hex[:16]}"
        self._create(name, template)
        try:
            yield self.url(name)
        finally:
            with self._admin() as admin:
                admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))

    def template(self, name: str, fill: Callable[[str], object]) -> str:
        """Make a template once for the whole run: `fill` gets the URL of the new database and must close its connections."""
        done = run_folder() / f"template-{name}.done"
        with locked(run_folder() / f"template-{name}.lock"):
            if not done.exists():
                self._create(name, "template1")
                fill(self.url(name))
                done.touch()
        return name

    def _create(self, name: str, template: str) -> None:
        with self._admin() as admin:
            fast = " strategy file_copy" if admin.info.server_version >= FILE_COPY_SINCE else ""
            admin.execute(sql.SQL("create database {} template {}" + fast).format(sql.Identifier(name), sql.Identifier(template)))

    def _admin(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(host=self.socket_folder, user="postgres", dbname="postgres", autocommit=True)


def sqlite_copy(path: Path, name: str, fill: Callable[[str], object]) -> str:
    """Copy a file made once for the whole run to `path` and return its URL: `fill` gets that of the new file and must close its connections."""
    made, done = run_folder() / f"template-{name}.db", run_folder() / f"template-{name}-sqlite.done"
    with locked(run_folder() / f"template-{name}-sqlite.lock"):
        if not done.exists():
            fill(f"sqlite:///{made}")
            done.touch()
    shutil.copyfile(made, path)
    return f"sqlite:///{path}"


def postgres(*, durable: bool = False) -> Postgres:
    """Return the run's server, started by whoever asks first; `durable` keeps fsync for tests that crash it.

    Raises MissingBinaryError.
    """
    name = "pgd" if durable else "pg"
    folder = run_folder() / name
    with locked(run_folder() / f"{name}.lock"):
        if not (run_folder() / f"{name}.pid").exists():
            _start_postgres(folder, {**COMMON, **({} if durable else FAST)})
            postmaster = (folder / "data" / "postmaster.pid").read_text()
            (run_folder() / f"{name}.pid").write_text(postmaster.partition("\n")[0] + "\n")
    return Postgres(str(folder))


class Cluster(Postgres):
    """One PostgreSQL of a test's own, with what its administrator may do; stopped by the test, or with the run."""

    def __init__(self) -> None:
        """Make the folder; nothing runs yet. Raises MissingBinaryError."""
        self.folder = new_folder("pgc")
        self.binaries = postgres_binaries()
        super().__init__(str(self.folder))
        self.folder.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(self.folder, _database_user())
        self.run(str(self.binaries / "initdb"), "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")

    @property
    def data(self) -> str:
        """Return the folder of the data."""
        return str(self.folder / "data")

    @staticmethod
    def run(*command: str) -> str:
        """Run a program as the user of the server and return what it wrote; raise RuntimeError when it fails."""
        return _as_database_user(command)

    def configure(self, lines: str) -> None:
        """Write lines to the end of `postgresql.conf`."""
        with (self.folder / "data" / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(lines)

    def start(self) -> None:
        """Start the server."""
        options = " ".join(f"-c {key}='{value}'" for key, value in COMMON.items())
        log, given = str(self.folder / "log"), f"-k {self.folder} {options}"
        self.run(str(self.binaries / "pg_ctl"), "-D", self.data, "-w", "-t", str(START_SECONDS), "-l", log, "-o", given, "start")
        postmaster = (self.folder / "data" / "postmaster.pid").read_text()
        (self.folder.parent / f"{self.folder.name}.pid").write_text(postmaster.partition("\n")[0] + "\n")

    def stop(self) -> None:
        """Stop the server; does nothing when it is stopped."""
        if (self.folder / "data" / "postmaster.pid").exists():
            self.run(str(self.binaries / "pg_ctl"), "-D", self.data, "-w", "-m", "fast", "stop")


def postgres_binaries() -> Path:
    """Return the folder of `initdb`: `PG_BIN`, or the newest that is installed. Raises MissingBinaryError."""
    if folder := os.environ.get("PG_BIN"):
        return Path(folder)
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    if on_path := shutil.which("initdb"):
        return Path(on_path).resolve().parent
    raise MissingBinaryError("PostgreSQL is not installed (initdb; PG_BIN names its folder)")


def _start_postgres(folder: Path, settings: dict[str, str]) -> None:
    binaries = postgres_binaries()
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)  # for the database's user
    if os.geteuid() == 0:
        shutil.chown(folder, _database_user())
    data = str(folder / "data")
    _as_database_user([str(binaries / "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"])
    options = " ".join(f"-c {key}='{value}'" for key, value in settings.items())
    start = ["-D", data, "-w", "-t", str(START_SECONDS), "-l", str(folder / "log"), "-o", f"-k {folder} {options}", "start"]
    _as_database_user([str(binaries / "pg_ctl"), *start])


def _database_user() -> str:
    """PostgreSQL refuses to run as root."""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def database_prefix() -> list[str]:
    """Return what runs a command as the user of PostgreSQL."""
    return ["runuser", "-u", _database_user(), "--"] if os.geteuid() == 0 else []


def _as_database_user(command: Sequence[str]) -> str:
    # pg_ctl's child keeps the descriptors it is given: a pipe would never close, a file does no harm
    with tempfile.TemporaryFile() as output:
        done = subprocess.run([*database_prefix(), *command], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd="/", check=False)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed with {done.returncode}: {text[-2000:]}")
    return text


class Redis:
    """One redis-server on a free port, with what a test may do to it."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, folder: Path) -> None:
        """Hold a started server."""
        self.process = process
        self.port = port
        self.folder = folder

    @property
    def url(self) -> str:
        """Return the URL of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def flush(self) -> None:
        """Empty every database."""
        if ask_redis(self.port, "FLUSHALL") != "+OK":
            raise RuntimeError("redis-server did not empty itself")

    def freeze(self) -> None:
        """Stop the process where it is: connections stay open and nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process at once, as `kill -9` does."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start again on the same port, empty."""
        self.kill()
        self.process = _spawn_redis(self.folder, self.port)


def start_redis() -> Redis:
    """Start a redis-server of its own. Raises MissingBinaryError."""
    folder = new_folder("redis")
    for _ in range(5):
        with contextlib.suppress(PortTakenError):
            port = free_port()
            return Redis(_spawn_redis(folder, port), port, folder)
    raise RuntimeError("no free port for redis-server")


class PortTakenError(Exception):
    """Somebody took the port between the choice and the start."""


def _spawn_redis(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    binary = shutil.which("redis-server")
    if binary is None:
        raise MissingBinaryError("redis-server is not installed")
    unix = folder / "s"
    options = ["--port", str(port), "--bind", "127.0.0.1", "--unixsocket", str(unix), "--save", "", "--appendonly", "no", "--dir", str(folder)]
    process = subprocess.Popen(
        [binary, *options, "--logfile", str(folder / "log")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    (folder.parent / f"{folder.name}.pid").write_text(f"{process.pid}\n")
    wait = threading.Event()
    for _ in range(START_SECONDS * 50):
        if process.poll() is not None:
            raise PortTakenError((folder / "log").read_text()[-500:])
        with contextlib.suppress(OSError):
            if ask_redis(port, "PING") == "+PONG":
                return process
        wait.wait(0.02)
    process.kill()
    process.wait()
    raise RuntimeError("redis-server did not answer")


def ask_redis(port: int, command: str) -> str:
    """Send one command without arguments and return the first line of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(command.encode() + b"\r\n")
        return connection.makefile().readline().strip()


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def binary(name: str, package: str) -> str:
    """Return the path of a program. Raises MissingBinaryError naming its Debian package."""
    found = shutil.which(name)
    if found is None:
        raise MissingBinaryError(f"{name} is not installed (Debian: apt-get install {package})")
    return found


def chromium_binary() -> str:
    """Return the path of Chromium: `CHROMIUM`, or the first on PATH. Raises MissingBinaryError."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = os.environ.get("CHROMIUM") or next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise MissingBinaryError("Chromium is not installed (CHROMIUM names its path)")
    return found


class Child:
    """A Python process that a test watches and kills."""

    def __init__(self, source: str, *arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> None:
        """Run the source text with this interpreter; `env` is added to this process's environment."""
        self.lines: list[str] = []
        self.process = forks.start(source, *arguments, env=env, cwd=cwd)

    @property
    def output(self) -> IO[str]:
        """Return the stream both outputs of the process go to."""
        if self.process.stdout is None:
            raise RuntimeError("the process has no output")
        return self.process.stdout

    def wait_for(self, text: str, timeout_seconds: float = patience.SECONDS) -> str:
        """Read lines until one holds `text` and return it; the process is killed when none comes in time."""
        timer = threading.Timer(timeout_seconds, self._give_up)
        timer.start()
        try:
            for line in self.output:
                self.lines.append(line.rstrip("\n"))
                if text in line:
                    return self.lines[-1]
        finally:
            timer.cancel()
        raise AssertionError(f"no line with {text!r}; the process printed:\n" + "\n".join(self.lines))

    def _give_up(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in psutil.Process(self.process.pid).children(recursive=True):  # they hold the output as well
                one.kill()
        self.process.kill()

    def kill9(self) -> list[str]:
        """Kill the process at once and return every line it printed."""
        self.process.kill()
        return self.finish()

    def finish(self, timeout_seconds: float = patience.SECONDS) -> list[str]:
        """Wait for the end and return every line it printed."""
        timer = threading.Timer(timeout_seconds, self._give_up)
        timer.start()
        try:
            self.lines.extend(line.rstrip("\n") for line in self.output)
            self.process.wait()
        finally:
            timer.cancel()
            self.close()
        return self.lines

    def close(self) -> None:
        """End the process when it still runs, and close its output."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.output.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def kill9(source: str, until: str, *arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> list[str]:
    """Run Python source in a process, wait for a line that holds `until`, kill -9 it, and return every line it printed."""
    with Child(source, *arguments, env=env, cwd=cwd) as child:
        child.wait_for(until)
        return child.kill9()
