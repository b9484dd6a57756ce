"""Dockerfile, docker-compose.yml, docs/deployment.md: what they say, and their commands run as written but for paths and ports.

No engine is needed. With GLASSINE_SLOW=1 the image's commands and those for a server without Docker run in a Debian of their own,
which debootstrap makes (GLASSINE_DEBIAN: a folder that holds one already), as the user and with the read-only root that they
would have.
"""

import json
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import nibabel
import numpy as np
import pytest

from tests.app.data.asking import Served
from tests.e2e.containers import (
    BUILD,
    COMPOSE,
    COMPOSE_FILE,
    IMAGE,
    ROOT,
    SERVICES,
    Prefix,
    command,
    defaulted,
    healthcheck,
    settings,
    stages,
)
from tests.e2e.fronted import Front, changed, free_port, nginx_folder, rendered, running_process

OURS = ("app", "scheduler", "worker")
GUIDE = (ROOT / "docs/deployment.md").read_text()
APP_SETTINGS = (ROOT / "app/settings.py").read_text()
HADOLINT = Path(sys.executable).with_name("hadolint")


# What they say.


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([HADOLINT, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_docker_compose_takes_the_file(docker_compose: str) -> None:
    base = [docker_compose, "--file", str(ROOT / "docker-compose.yml")]
    for profile, services in (([], {"app", "nginx"}), (["--profile", "cluster"], {*SERVICES})):
        done = subprocess.run([*base, *profile, "config", "--services"], capture_output=True, text=True, check=False)
        # The first version lists those of every profile.
        assert (done.returncode, services <= set(done.stdout.split())) == (0, True), done.stderr


def test_the_images_are_pinned() -> None:
    for image in (*(stage.base.split()[0] for stage in stages()), SERVICES["nginx"]["image"]):
        assert re.fullmatch(r"\w+:\d+\.\d+\.\d+(-[\w-]+)?", image), image


def test_no_container_has_more_rights_than_it_needs() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", IMAGE.last("USER").text)
    for name, service in SERVICES.items():
        assert service["user"] == "${GLASSINE_USER:-1000:1000}", name
        assert service["read_only"] is True, name
        assert service["tmpfs"] == ["/tmp"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "cap_add", "devices", "network_mode", "pid", "env_file"} & set(service), name


def test_one_folder_of_data_for_all() -> None:
    for name in OURS:
        assert SERVICES[name]["volumes"] == ["${GLASSINE_DATA:-./data}:/srv/data"]
        assert SERVICES[name]["image"] == "glassine"
    assert all(volume.endswith(":ro") for volume in SERVICES["nginx"]["volumes"])
    assert "${GLASSINE_DATA:-./data}:/srv/data:ro" in SERVICES["nginx"]["volumes"]


def test_only_nginx_is_reached_from_outside_and_the_scheduler_by_the_app_alone() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["nginx"]
    assert all("127.0.0.1" in port for port in SERVICES["nginx"]["ports"])
    assert {name for name, service in SERVICES.items() if "cluster" in service["networks"]} == set(OURS)
    assert COMPOSE["networks"]["cluster"]["internal"] is True


def test_services_wait_for_each_other() -> None:
    assert SERVICES["nginx"]["depends_on"] == {"app": {"condition": "service_healthy"}}
    assert SERVICES["worker"]["depends_on"] == {"scheduler": {"condition": "service_healthy"}}
    assert {name for name, service in SERVICES.items() if service.get("profiles") == ["cluster"]} == {"scheduler", "worker"}
    assert not {name for name, service in SERVICES.items() if "profiles" in service} - {"scheduler", "worker"}


def test_the_app_knows_what_it_is_told() -> None:
    names = {*SERVICES["app"]["environment"], *IMAGE.environment}
    for name in (name for name in names if name.startswith("GLASSINE_")):
        assert f'"{name.removesuffix("_FILE")}"' in APP_SETTINGS, name


def test_the_token_is_a_secret_file() -> None:
    environment = SERVICES["app"]["environment"]
    assert environment["GLASSINE_TOKEN_FILE"] == f"/run/secrets/{SERVICES['app']['secrets'][0]}"
    assert not {"GLASSINE_TOKEN", "GLASSINE_READ_TOKEN"} & set(environment)
    assert set(COMPOSE["secrets"]) == {"token"}
    assert [name for name, service in SERVICES.items() if "secrets" in service] == ["app"]


def test_every_variable_is_told() -> None:
    head = "".join(line for line in COMPOSE_FILE.splitlines(keepends=True) if line.startswith("#"))
    for name, default in settings().items():
        assert name in head
        assert name in GUIDE
        if default:
            assert re.search(rf"^# {name} +{re.escape(default)} ", head, re.MULTILINE), name
            assert f"| `{name}` | {default} |" in GUIDE


def test_what_is_deployed_fits_together() -> None:
    nginx, tls = ((ROOT / name).read_text() for name in ("nginx.conf", "nginx-tls.conf"))
    (service, port), *others = re.findall(r"http://(\w+):(\d+);", nginx)
    assert not others
    assert service == "app"
    assert SERVICES[service]["build"] == "."
    assert SERVICES[service]["expose"] == [port]
    assert IMAGE.last("EXPOSE").text == port
    assert IMAGE.last("CMD").words == ["serve", "/srv/data", "--host", "0.0.0.0", "--port", port]
    assert f"http://127.0.0.1:{port}/healthz" in healthcheck(service)[-1]
    listens = [*re.findall(r"listen (\d+)", nginx), *re.findall(r"listen (\d+)", tls)]
    assert [mapped.rpartition(":")[2] for mapped in SERVICES["nginx"]["ports"]] == listens
    assert "from=/srv/data;" in nginx
    mounted = {volume.removesuffix(":ro").rpartition(":")[2] for volume in SERVICES["nginx"]["volumes"]}
    assert mounted == {"/srv/data", "/etc/nginx/nginx.conf", "/etc/nginx/tls"}
    assert "include /etc/nginx/tls/*.conf;" in nginx
    assert f"tcp://scheduler:{command('scheduler')[5]}" in command("worker")
    assert SERVICES["app"]["environment"]["GLASSINE_SCHEDULERS"] in command("worker")


def test_what_is_copied_goes_to_the_engine() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {word for one in BUILD.all("COPY") for word in one.words[:-1]}
    assert copied == sent
    assert all((ROOT / name).exists() for name in copied)


# What they do.


@dataclass
class Desk:
    """A server: folder is where the commands are typed, prefix what stands for the root of the containers."""

    folder: Path
    prefix: Prefix
    front: Front
    nginx: str
    running: ExitStack = field(default_factory=ExitStack)
    serving: ExitStack = field(default_factory=ExitStack)

    def run_image(self, arguments: list[str]) -> str:
        """Run the image's entry point with other arguments, as `docker-compose run --rm app` does, and return what it prints."""
        words = self.prefix.words([*IMAGE.last("ENTRYPOINT").words, *arguments])
        return self._done(words, self.prefix.environment("app"))

    def is_well(self, service: str) -> bool:
        words = self.prefix.words(healthcheck(service))
        return subprocess.run(words, env=self.prefix.environment(service), capture_output=True, check=False).returncode == 0

    def start(self, service: str, port: str) -> None:
        """Start a service and wait until it is well."""
        words = self.prefix.words(command(service))
        stack = self.running
        stack.enter_context(running_process(words, int(port), self.prefix.environment(service)))
        for _ in range(100):
            if self.is_well(service):
                return
            time.sleep(0.1)
        pytest.fail(f"{service} is not well")

    def start_nginx(self) -> None:
        self.serving.close()
        path = self.folder / "nginx-placed.conf"
        path.write_text(rendered(self.front, self.prefix.changes["app:8080"]))
        for file in (self.front.folder / "tls").glob("*.conf"):
            placed = changed(
                (ROOT / file.name).read_text(), {"/etc/nginx/tls": str(file.parent), "8443": f"127.0.0.1:{self.front.tls_port}"}
            )
            file.write_text(placed)
        start = ["-p", str(self.front.folder), "-c", str(path), "-e", str(self.front.folder / "start.log")]
        words = [self.nginx, *command("nginx")[1:], *start]
        self.serving.enter_context(running_process(words, self.front.port))

    def type(self, line: str) -> str:
        """Type a line of the guide into a shell, where paths outside of its folder stand for others."""
        places = {"/etc/letsencrypt": f"{self.folder}/letsencrypt"}
        for before, after in places.items():
            line = line.replace(before, after)
        return self._done(["sh", "-c", line], dict(os.environ))

    def _done(self, words: list[str], environment: dict[str, str]) -> str:
        done = subprocess.run(
            words, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{shlex.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def prefix() -> Iterator[Prefix]:
    """Where the RUN lines of the Dockerfile have run as they are written; libraries come from this test's own environment."""
    with nginx_folder() as base:
        ports = {name: str(free_port()) for name in ("app", "scheduler")}
        changes = {
            "tcp://scheduler:8786": f"tcp://127.0.0.1:{ports['scheduler']}",
            "app:8080": f"127.0.0.1:{ports['app']}",
            "8080": ports["app"],
            "8786": ports["scheduler"],
            "0.0.0.0": "127.0.0.1",
        }
        prefix = Prefix(base, changes)
        prefix.copy_sources()
        libraries = sysconfig.get_paths()["purelib"]
        offline = {"PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PYTHONPATH": libraries}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        for line in BUILD.all("RUN"):
            subprocess.run(
                ["sh", "-c", prefix.placed(line.text)],
                cwd=base / BUILD.last("WORKDIR").text.strip("/"),
                env={"PATH": path, "HOME": str(base), **offline},
                check=True,
                stdout=subprocess.DEVNULL,
            )
        (own,) = (base / "opt/glassine/lib").glob("python*/site-packages")
        (own / "libraries.pth").write_text(libraries)
        # `dask` belongs to the libraries, which are not in this environment.
        dask = base / "opt/glassine/bin/dask"
        shutil.copy(dask.with_name("glassine"), dask)
        dask.write_text(f"#!{dask.with_name('python')}\nimport sys\nfrom dask.__main__ import main\nsys.exit(main())\n")
        for name in ("tmp", "run/secrets"):
            (base / name).mkdir(parents=True)
        yield prefix


@pytest.fixture(scope="module")
def desk(prefix: Prefix, nginx: str, openssl: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The folder of the repository in which the guide is followed."""
    folder = tmp_path_factory.mktemp("server")
    for name in ("docker-compose.yml", "nginx.conf", "nginx-tls.conf"):
        shutil.copy(ROOT / name, folder)
    image = nibabel.Nifti1Image(np.random.default_rng(1).integers(0, 900, (60, 72, 50), np.int16), np.diag([1.0, 1, 1, 1]))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, folder / "brain.nii.gz")
    # Bind mounts: what lies beside docker-compose.yml is what the containers see.
    (folder / "data").symlink_to(prefix.base / "srv/data")
    (folder / "tls").symlink_to(prefix.base / "tls")
    (prefix.base / "run/secrets/token").symlink_to(folder / "token")
    desk = Desk(folder, prefix, Front(prefix.base, free_port(), free_port()), nginx)
    with desk.running, desk.serving:
        yield desk


def section(title: str) -> list[str]:
    """Return the commands under a heading of the guide, a line each."""
    text = re.split(r"^## ", GUIDE, flags=re.MULTILINE)
    (found,) = [part for part in text if part.startswith(title)]
    blocks = re.findall(r"^```sh\n(.*?)^```$", found, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def assert_options(line: str, known: set[str]) -> None:
    assert {word for word in shlex.split(line) if word.startswith("--")} <= known, line


def up(desk: Desk, line: str) -> None:
    """Start what is not there yet; nginx always anew, as a changed .env or certificate wants it."""
    if "--profile cluster" in line:
        assert_options(line, {"--profile", "--build", "--detach", "--scale"})
        desk.start("scheduler", desk.prefix.changes["8786"])
        for _ in range(int(line.rpartition("worker=")[2])):
            words = desk.prefix.words(command("worker"))
            desk.running.enter_context(started(words, desk.prefix.environment("worker")))
        return
    assert_options(line, {"--build", "--detach"})
    if not desk.is_well("app"):
        desk.start("app", desk.prefix.changes["8080"])
    desk.start_nginx()
    assert desk.front.served.ask("/healthz").status == 200


@contextmanager
def started(words: list[str], environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def run_in_app(desk: Desk, line: str) -> None:
    """Run what the app's container would, and look from outside at what came of it."""
    words = shlex.split(line)
    assert words[1:4] == ["run", "--rm", "app"]
    printed = desk.run_image(words[4:])
    match words[4]:
        case "convert":
            name = words[6].removeprefix("/srv/data/")
            assert desk.front.served.ask(f"/data/{name}/info").status == (200 if is_public(desk, name) else 401)
            assert desk.front.served.ask(f"/data/{name}/info", Authorization=f"Bearer {token(desk)}").status == 200
        case "link":
            (target,) = re.findall(r"precomputed://https://scans\.lab\.example(/data/~[^/]+/lab/brain)", unquote(printed))
            assert desk.front.served.ask(f"{target}/info").status == 200
            assert desk.front.served.ask(f"{target.replace('brain', 'brai')}/info").status == 401
        case "access":
            time.sleep(2)  # what nginx was told holds for two seconds
            assert desk.front.served.ask("/data/lab/brain/info").status == 200


def is_public(desk: Desk, name: str) -> bool:
    path = desk.prefix.base / "srv/data/.glassine/access.json"
    return path.exists() and json.loads(path.read_text())["datasets"].get(name) == "public"


def token(desk: Desk) -> str:
    return (desk.folder / "token").read_text().strip()


def restart_nginx(desk: Desk, line: str) -> None:
    desk.start_nginx()
    context = ssl.create_default_context(cafile=desk.front.folder / "tls/fullchain.pem")
    context.check_hostname = False
    with urllib.request.urlopen(f"https://127.0.0.1:{desk.front.tls_port}/healthz", context=context) as answer:
        assert answer.status == 200


def look(desk: Desk, line: str) -> None:
    """What it names is there; there is no engine that could be asked."""
    words = shlex.split(line)
    assert words[1] in ("ps", "logs")
    assert {word for word in words[2:] if word.isalpha()} <= set(SERVICES)


def down(desk: Desk, line: str) -> None:
    desk.serving.close()
    desk.running.close()
    assert not desk.is_well("app")


def make_certificate(desk: Desk) -> None:
    """Make one with the command that the guide tells to try it with, where the guide takes one from."""
    (line,) = re.findall(r"`(openssl req [^`]*)`", GUIDE)
    folder = desk.folder / "letsencrypt/live/scans.lab.example"
    folder.mkdir(parents=True)
    subprocess.run(shlex.split(line.replace("tls/", "")), cwd=folder, check=True, stderr=subprocess.DEVNULL)


RULES: dict[str, Callable[[Desk, str], object]] = {
    r"apt-get (update|install --yes --no-install-recommends [a-z. -]+)$": lambda desk, line: None,
    r"docker-compose (--profile cluster )?up ": up,
    r"docker-compose run ": run_in_app,
    r"docker-compose restart nginx$": restart_nginx,
    r"docker-compose (ps|logs)": look,
    r"docker-compose down$": down,
    r"mkdir data tls$": lambda desk, line: None,  # the folders are there: they stand for the containers' own
    r"chown ": lambda desk, line: None,  # there is no user of the containers here
    r"(openssl rand|chmod|cp) ": lambda desk, line: desk.type(line),
}


@pytest.mark.timeout(300)
def test_every_command_of_the_guide_with_docker_does_what_it_tells(desk: Desk) -> None:
    make_certificate(desk)
    for line in section("With Docker"):
        rule = next((rule for pattern, rule in RULES.items() if re.match(pattern, line)), None)
        assert rule, f"no rule says how to run {line!r}"
        rule(desk, line)


def test_the_commands_for_nginx_without_docker_make_a_configuration_that_it_takes(
    nginx: str, openssl: str, tmp_path: Path
) -> None:
    for file in ("nginx.conf", "nginx-tls.conf"):
        shutil.copy(ROOT / file, tmp_path)
    etc = tmp_path / "etc/nginx"
    (etc / "tls").mkdir(parents=True)
    for name in ("run", "var/lib/nginx", "var/log/nginx"):
        (tmp_path / name).mkdir(parents=True)
    for line in section("Without Docker"):
        if line.startswith("sed "):
            subprocess.run(["sh", "-c", line.replace("> /etc", f"> {tmp_path}/etc")], cwd=tmp_path, check=True)
    certificate = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout privkey.pem -out fullchain.pem"
    subprocess.run([openssl, *certificate.split()], cwd=etc / "tls", check=True, stderr=subprocess.DEVNULL)
    for path in (etc / "nginx.conf", etc / "tls/nginx-tls.conf"):
        text = re.sub(r"(?<![\w.])/(etc|run|var)/", rf"{tmp_path}/\1/", path.read_text())
        path.write_text(re.sub(r"listen (\d+)", lambda match: f"listen 127.0.0.1:{free_port()}", text))
        assert "/tmp/nginx" not in text
        assert "app:8080" not in text
    words = [nginx, "-t", "-c", str(etc / "nginx.conf"), "-e", str(tmp_path / "start.log")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_service_without_docker_runs_what_the_guide_installs() -> None:
    (unit,) = re.findall(r"^```ini\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    told = dict(line.partition("=")[::2] for line in unit.splitlines() if "=" in line)
    assert told["ExecStart"].split() == ["/opt/glassine/bin/glassine", "serve", "/srv/data"]
    for pair in told["Environment"].split():
        assert f'"{pair.partition("=")[0].removesuffix("_FILE")}"' in APP_SETTINGS


# In a Debian of their own.

SLOW = pytest.mark.skipif(
    os.environ.get("GLASSINE_SLOW") != "1" or os.geteuid() != 0, reason="needs root, minutes and packages: GLASSINE_SLOW=1"
)
INSIDE = """
set -e
mount --bind "$0" "$0"
mount --bind "$0/srv/data" "$0/srv/data"
mount -o remount,ro,bind "$0"
mount -t proc proc "$0/proc"
mount -t tmpfs tmpfs "$0/tmp"
mount -t tmpfs tmpfs "$0/dev/shm"
exec chroot --userspec=1000:1000 "$0" "$@"
"""
"""Runs a command as a container would: with a root that is read-only, /tmp and /dev/shm in memory, as the Dockerfile's user."""


@dataclass(frozen=True)
class Debian:
    """A folder with a Debian in it."""

    folder: Path

    def shell(self, line: str, folder: str = "/", **environment: str) -> str:
        """Run a line as root."""
        told = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
        registry = {name: value for name, value in os.environ.items() if name.startswith("PIP_") and name != "PIP_FIND_LINKS"}
        words = ["chroot", str(self.folder), "sh", "-c", f"cd {folder} && {line}"]
        done = subprocess.run(words, env={**told, **registry, **environment}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def contained(self, words: list[str], environment: dict[str, str]) -> list[str]:
        told = [f"{name}={value.replace('$PATH', '/usr/local/bin:/usr/bin:/bin')}" for name, value in environment.items()]
        return ["unshare", "--mount", "sh", "-c", INSIDE, str(self.folder), "env", "-i", *told, *words]

    def run(self, words: list[str], environment: dict[str, str]) -> str:
        """Run a command as in a container."""
        done = subprocess.run(self.contained(words, environment), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{shlex.join(words)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Debian:
    """Python's packages stand for those of the image; how this machine reaches the registries is taken over."""
    given = os.environ.get("GLASSINE_DEBIAN")
    folder = Path(given) if given else tmp_path_factory.mktemp("debian")
    if not (folder / "usr").is_dir():
        packages = "python3,python3-pip,python-is-python3,ca-certificates"
        words = ["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(folder)]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    for file in ("etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt"):
        shutil.copy(Path("/", file), folder / file)
    return Debian(folder)


@pytest.fixture(scope="module")
def image(debian: Debian) -> Debian:
    """Where the Dockerfile's lines have run as they are written."""
    root = debian.folder
    for name in ("src", "opt/glassine", "opt/data", "srv/data"):
        shutil.rmtree(root / name, ignore_errors=True)
    Prefix(root).copy_sources()
    for line in BUILD.all("RUN"):
        debian.shell(line.text, folder=BUILD.last("WORKDIR").text)
    shutil.rmtree(root / "src")
    shutil.move(root / "opt/data", root / "srv/data")
    (root / "run/secrets").mkdir(exist_ok=True)
    (root / "run/secrets/token").write_text("0123456789abcdef0123456789abcdef\n")
    for path in (root / "srv/data", root / "run/secrets/token"):
        os.chown(path, 1000, 1000)
    return debian


@SLOW
@pytest.mark.timeout(3600)
def test_the_image_works_in_a_clean_debian_on_a_read_only_root(image: Debian) -> None:
    environment = IMAGE.environment | {name: defaulted(value) for name, value in SERVICES["app"]["environment"].items()}
    labels = "1 + sum((n // 16) * 3**i for i, n in enumerate(np.indices((48, 48, 48))))"
    program = f"import numpy as np; np.save('/srv/data/cells.npy', ({labels}).astype(np.uint32))"
    entry = IMAGE.last("ENTRYPOINT").words
    image.run(["python", "-c", program], environment)
    told = ["--axes", "xyz", "--resolution", "8,8,8", "--type", "segmentation"]
    image.run([*entry, "convert", "/srv/data/cells.npy", "/srv/data/lab/cells", *told], environment)
    image.run([*entry, "mesh", "/srv/data/lab/cells"], environment)
    image.run([*entry, "skeletonize", "/srv/data/lab/cells"], environment)
    assert list((image.folder / "srv/data/.glassine/cache/kernels").rglob("*.nbi")), "kernels are compiled once"
    port = str(free_port())
    words = [word.replace("8080", port).replace("0.0.0.0", "127.0.0.1") for word in command("app")]
    with running_process(image.contained(words, environment), int(port)):
        image.run([word.replace("8080", port) for word in healthcheck("app")], environment)
        served = Served(f"http://127.0.0.1:{port}", image.folder / "srv/data")
        assert served.ask("/data/lab/cells/info").status == 401
        bearer = {"Authorization": "Bearer 0123456789abcdef0123456789abcdef"}
        assert served.ask("/data/lab/cells/info", **bearer).status == 200
        assert state_of_job(served, bearer) == "done"
    megabytes = int(image.shell("du -sm /opt/glassine").split()[0])
    assert megabytes < 1300


def state_of_job(served: Served, bearer: dict[str, str]) -> str:
    """Have the app convert once more, in a process that the kernel confines, and return how that ended."""
    options = {"source": "cells.npy", "dataset": "job/cells", "axes": "xyz", "resolution": "8,8,8", "overwrite": True}
    body = json.dumps({"command": "convert", "options": options}).encode()
    headers = {**bearer, "Content-Type": "application/json"}
    url = f"{served.url}/api/jobs"
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
        job = json.load(answer)
    while job["state"] in ("queued", "running"):
        time.sleep(0.5)
        with urllib.request.urlopen(urllib.request.Request(f"{url}/{job['id']}", headers=headers)) as answer:
            job = json.load(answer)
    return str(job["state"])


@SLOW
@pytest.mark.timeout(3600)
def test_the_guide_without_docker_works_in_a_clean_debian(debian: Debian) -> None:
    root = debian.folder
    for name in ("src", "opt/glassine", "srv/data", "etc/glassine", "etc/nginx/tls"):
        shutil.rmtree(root / name, ignore_errors=True)
    Prefix(root).copy_sources()
    for name in ("nginx.conf", "nginx-tls.conf"):
        shutil.copy(ROOT / name, root / "src")
    image = nibabel.Nifti1Image(np.random.default_rng(1).integers(0, 900, (60, 72, 50), np.int16), np.diag([1.0, 1, 1, 1]))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, root / "src/brain.nii.gz")
    certificates = root / "etc/letsencrypt/live/scans.lab.example"
    certificates.mkdir(parents=True, exist_ok=True)
    (line,) = re.findall(r"`(openssl req [^`]*)`", GUIDE)
    subprocess.run(shlex.split(line.replace("tls/", "")), cwd=certificates, check=True, stderr=subprocess.DEVNULL)
    printed = ""
    for line in section("Without Docker"):
        if line.startswith("useradd"):
            debian.shell("userdel --remove glassine || true")
        if not line.startswith("systemctl"):  # no systemd runs in a folder
            printed = debian.shell(line, folder="/src")
    assert "precomputed://https://scans.lab.example/data/~" in unquote(printed)
    assert debian.shell("runuser -u glassine -- cat /etc/glassine/token").strip()
