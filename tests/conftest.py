"""Programs that some tests drive and that pip does not install."""

import os
import shutil

import pytest


def _program(purpose: str, *names: str) -> str:
    """Return the path of the first of these programs; without one the test is skipped, or with CI set it fails."""
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    missing = f"{purpose} needs {names[0]}, which is not installed (Debian: apt install {names[0]})"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium."""
    return _program("the test in the real viewer", "chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def nginx() -> str:
    """The path of nginx."""
    return _program("the test of nginx.conf", "nginx")


@pytest.fixture(scope="session")
def docker_compose() -> str:
    """The path of docker-compose."""
    return _program("the test of docker-compose.yml", "docker-compose")


@pytest.fixture(scope="session")
def openssl() -> str:
    """The path of openssl."""
    return _program("the test of TLS", "openssl")
