"""nginx with the repository's nginx.conf over a folder of a test's own, and the app behind it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.app.data.asking import Served

CONFIGURATION = Path(__file__).parents[2] / "nginx.conf"
GLASSINE = str(Path(sys.executable).with_name("glassine"))

_NO_MIGHT = "-dac_override,-dac_read_search"
"""Without these, root reads no file whose mode forbids it."""


@dataclass(frozen=True)
class Front:
    """Where an nginx runs: folder/srv/data are the datasets, access.log and error.log beside them."""

    folder: Path
    port: int
    tls_port: int

    @property
    def served(self) -> Served:
        return Served(f"http://127.0.0.1:{self.port}", self.folder / "srv/data")

    def logged(self) -> str:
        """Return all that it has logged."""
        names = ("access.log", "error.log", "start.log")
        return "".join((self.folder / name).read_text() for name in names if (self.folder / name).exists())


@contextmanager
def nginx_folder() -> Iterator[Path]:
    """Make a folder that nginx can read; started by root it reads as `nobody`, who cannot see into pytest's own folders."""
    folder = Path(tempfile.mkdtemp(prefix="glassine-nginx-"))
    folder.chmod(0o755)
    (folder / "srv/data").mkdir(parents=True)
    (folder / "tls").mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def running_nginx(program: str, folder: Path, app: str) -> Iterator[Front]:
    """Run nginx over folder, its master in the foreground so that ending it ends all. app: HOST:PORT."""
    front = Front(folder, free_port(), free_port())
    path = folder / f"nginx-{front.port}.conf"
    path.write_text(rendered(front, app))
    for file in (folder / "tls").glob("*.conf"):
        file.write_text(changed(file.read_text(), {"/etc/nginx/tls": f"{folder}/tls", "8443": f"127.0.0.1:{front.tls_port}"}))
    command = [program, "-p", str(folder), "-c", str(path), "-e", str(folder / "start.log"), "-g", "daemon off;"]
    with running_process(command, front.port):
        yield front


@dataclass(frozen=True)
class App:
    """A running `glassine serve`. pid: its process."""

    port: int
    pid: int
    root: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def served(self) -> Served:
        return Served(f"http://{self.address}", self.root)


@contextmanager
def running_app(folder: Path, environment: dict[str, str] | None = None) -> Iterator[App]:
    """Run `glassine serve` over the same datasets, with no more right to read files than any user has."""
    port, root = free_port(), folder / "srv/data"
    command = [*as_any_user(), GLASSINE, "serve", str(root), "--port", str(port)]
    with running_process(command, port, environment) as process:
        yield App(port, process.pid, root)


def as_any_user() -> list[str]:
    """Return what stands in front of a command for root to be bound to the modes of files."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return []
    return ["setpriv", f"--bounding-set={_NO_MIGHT}", f"--inh-caps={_NO_MIGHT}"]


@contextmanager
def running_process(
    command: list[str], port: int, environment: dict[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server until the context ends; it is there once the port takes connections."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )
    try:
        wait_for(port, process)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def rendered(front: Front, app: str) -> str:
    """Return nginx.conf with its paths, its port and the app's address changed, and nothing else."""
    changes = {
        "/srv": f"{front.folder}/srv",
        "/tmp/nginx": f"{front.folder}/nginx",
        "/dev/stderr": f"{front.folder}/error.log",
        "/dev/stdout": f"{front.folder}/access.log",
        "/etc/nginx/tls": f"{front.folder}/tls",
        "listen 8000;": f"listen 127.0.0.1:{front.port};",
        "http://app:8080": f"http://{app}",
    }
    return changed(CONFIGURATION.read_text(), changes)


def changed(text: str, changes: dict[str, str]) -> str:
    for before, after in changes.items():
        assert before in text, before
        text = text.replace(before, after)
    return text


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Return when the port answers; fail when the process has ended."""
    for _ in range(600):
        assert process.poll() is None, f"{process.args!r} ended with status {process.returncode}"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"{process.args!r} does not listen")
