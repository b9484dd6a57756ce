"""The benchmark of many viewers: what its trace holds, how it is sent, what counts as an error, its table."""

from benchmarks.load import Asked, Run, Trace, lua_trace, read_trace, run_of, summary


def test_the_trace_is_a_mix_of_what_the_viewer_asks_for() -> None:
    trace = read_trace()
    statuses = [asked.status for asked in trace.requests]
    assert {200, 206, 404} == set(statuses)
    assert trace.requests[0].status == 200
    assert sum(asked.target.endswith("/info") for asked in trace.requests) >= 2
    for scale in ("8_8_8", "16_16_16", "32_32_32", "64_64_64"):
        assert any(asked.target.startswith(f"/data/volume/{scale}/") for asked in trace.requests)
        assert any(asked.target.startswith(f"/data/sharded/{scale}/") for asked in trace.requests)
    assert all(("range" in asked.headers) == (asked.status == 206) for asked in trace.requests)
    assert "Chrome" in trace.headers["user-agent"]


def test_requests_are_sent_as_they_were_recorded() -> None:
    trace = Trace({"accept": "*/*"}, [Asked("/data/a/info", {}, 200), Asked("/data/a/0.shard", {"range": "bytes=0-15"}, 206)])
    first = '{200, "GET /data/a/info HTTP/1.1\\r\\nhost: 127.0.0.1\\r\\naccept: */*\\r\\n\\r\\n"}'
    second = '{206, "GET /data/a/0.shard HTTP/1.1\\r\\nhost: 127.0.0.1\\r\\naccept: */*\\r\\nrange: bytes=0-15\\r\\n\\r\\n"}'
    assert lua_trace(trace) == f"return {{\n{first},\n{second}\n}}\n"


def test_absent_chunks_are_no_errors_and_all_else_is() -> None:
    assert run_of([1000, 2_500_000, 50_000_000, 0, 30, 30, 5_000, 40_000, 90_000]) == Run(500, 25, 0, 5, 40, 90)
    assert run_of([1000, 2_500_000, 50_000_000, 1, 30, 30, 5_000, 40_000, 90_000]).errors == 1
    assert run_of([1000, 2_500_000, 50_000_000, 0, 31, 30, 5_000, 40_000, 90_000]).errors == 1
    assert run_of([1000, 2_500_000, 50_000_000, 0, 29, 30, 5_000, 40_000, 90_000]).errors == 1


def test_the_table_compares_medians() -> None:
    runs = {
        "nginx, least": [Run(1000, 10, 0, 1, 2, 3), Run(3000, 30, 0, 1, 4, 5), Run(2000, 20, 0, 1, 3, 9)],
        "glassine": [Run(900, 9, 0, 2, 5, 6)],
    }
    _, _, first, second = summary(runs).splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in (first, second)]
    assert cells[0] == ["nginx, least", "2,000", "20", "1.0", "3.0", "4.0", "9", "0", "1.00"]
    assert cells[1] == ["glassine", "900", "9", "2.0", "5.0", "5.0", "6", "0", "0.45"]
