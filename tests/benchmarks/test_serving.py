"""The benchmark of serving: what it changes in nginx.conf, and its table."""

from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.serving import Bench, Server, summary


def test_nginx_conf_gets_other_paths_and_another_port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    server = Bench(tmp_path, 1).nginx(3)
    conf = (tmp_path / f"nginx-{server.port}.conf").read_text()
    assert f"listen 127.0.0.1:{server.port};" in conf
    assert f"root {tmp_path}/srv;" in conf
    assert "worker_processes 3;" in conf
    assert server.behind is not None
    assert f"set $app http://127.0.0.1:{server.behind.port};" in conf
    assert not [path for path in ("/dev/std", "/tmp/nginx", "/etc/nginx", "app:8080") if path in conf]


def test_summary_compares_medians_with_the_first_server() -> None:
    servers = [
        Server("nginx, least", (), 1, [20_000.0, 10_000.0, 21_000.0]),
        Server("glassine", (), 2, [9_000.0, 10_000.0, 11_000.0]),
    ]
    _, _, first, second = summary(servers).splitlines()
    assert [cell.strip() for cell in first.strip("|").split("|")] == ["nginx, least", "20,000", "10,000-21,000", "2,100", "1.00"]
    assert [cell.strip() for cell in second.strip("|").split("|")] == ["glassine", "10,000", "9,000-11,000", "1,050", "0.50"]


def test_an_unknown_benchmark_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["speed"]) == 2
    assert (
        capsys.readouterr().err
        == "usage: python -m benchmarks {volumes,serving,sources,memory,meshes,skeletons,traces,latency,load} [options]\n"
    )
