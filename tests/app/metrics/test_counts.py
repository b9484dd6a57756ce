"""Counting: every request once, in bounded memory whatever is asked for."""

from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from app.metrics.counts import BOUNDS, Absorber, Counts
from app.metrics.figures import Figures
from app.metrics.folders import Folders
from app.metrics.names import MOST, Names
from tests.app.metrics.conftest import write_volume

REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(["/data/lab/brain/8_8_8/0-1_0-1_0-1", "/data/none/info", "/flat/x/0.shard", "/", "/api/jobs", "/data"]),
        st.sampled_from(["GET", "HEAD", "OPTIONS", "POST"]),
        st.sampled_from([0, 200, 206, 304, 401, 404, 500, 503]),
        st.integers(0, 1 << 40),
        st.floats(0, 100),
    )
)


def known_to_nobody(folder: str) -> bool:
    return False


def absorbed(counts: Counts, root: Path) -> Figures:
    absorber = Absorber(Folders(root), Names(None))
    absorber.absorb(counts.take())
    return absorber.figures


def total(figures: Figures, key: str) -> float:
    return sum(value for (first, *_), value in figures.items() if first == key)


@settings(max_examples=40)
@given(REQUESTS)
def test_every_request_counts_once(requests: list[tuple[str, str, int, int, float]]) -> None:
    counts = Counts(known_to_nobody)
    for request in requests:
        counts.note(*request)
    figures = absorbed(counts, Path("/nowhere"))
    answered = [request for request in requests if request[2]]
    assert total(figures, "requests") == len(requests)
    assert total(figures, "bytes") == sum(size for _, _, _, size, _ in requests)
    buckets = Counter(sum(bound < seconds for bound in BOUNDS) for *_, seconds in answered)
    found: Counter[int] = Counter()
    for (first, *labels), value in figures.items():
        if first == "duration":
            found[int(labels[-1])] += int(value)
    assert found == buckets


def test_outcomes_of_chunks_are_those_of_reading_them(tmp_path: Path) -> None:
    write_volume(tmp_path / "v")
    counts = Counts(known_to_nobody)
    for method, status in [("GET", 200), ("GET", 206), ("HEAD", 304), ("GET", 404), ("GET", 404), ("GET", 500)]:
        counts.note("/data/v/8_8_8/0-64_0-64_0-64", method, status, 0, 0.1)
    for method, status in [("OPTIONS", 200), ("POST", 405), ("GET", 401), ("GET", 416), ("GET", 503), ("GET", 0)]:
        counts.note("/data/v/8_8_8/0-64_0-64_0-64", method, status, 0, 0.1)
    counts.note("/data/v/fine/4_4_4/0.shard", "GET", 206, 0, 0.1)
    figures = absorbed(counts, tmp_path)
    assert {key[1:]: value for key, value in figures.items() if key[0] == "scale"} == {
        ("v", "8_8_8", "found"): 3,
        ("v", "8_8_8", "absent"): 2,
        ("v", "8_8_8", "failed"): 1,
        ("v", "fine/4_4_4", "found"): 1,
    }


def test_made_up_names_take_bounded_memory_and_hide_no_dataset(tmp_path: Path) -> None:
    write_volume(tmp_path / "v")
    folders = Folders(tmp_path)
    counts, absorber = Counts(folders.is_known), Absorber(folders, Names(None))
    counts.note("/data/v/8_8_8/0-64_0-64_0-64", "GET", 200, 1000, 0.1)
    absorber.absorb(counts.take())
    for number in range(10_000):
        counts.note(f"/data/made-up-{number}/8_8_8/0-64_0-64_0-64", "GET", 404, 23, 0.1)
    counts.note("/data/v/8_8_8/0-64_0-64_0-64", "GET", 200, 1000, 0.1)
    taken = counts.take()
    assert len(taken) < 1100
    absorber.absorb(taken)
    assert absorber.figures["scale", "v", "8_8_8", "found"] == 2
    assert absorber.figures["scale", "other", "other", "absent"] == 10_000
    assert total(absorber.figures, "requests") == 10_002
    assert len(absorber.figures) < 20


def test_more_datasets_than_may_be_labels_count_together(tmp_path: Path) -> None:
    for number in range(MOST + 20):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "info").write_text('{"scales": [{"key": "k"}]}')
    absorber = Absorber(Folders(tmp_path), Names(None))
    for _ in range(2):
        counts = Counts(known_to_nobody)
        for number in range(MOST + 20):
            counts.note(f"/data/{number}/k/0-1_0-1_0-1", "GET", 404, 0, 0.0)
        absorber.absorb(counts.take())
    assert absorber.figures["scale", "other", "other", "absent"] == 40
    assert absorber.figures["scale", "7", "k", "absent"] == 2
    assert len([key for key in absorber.figures if key[0] == "scale"]) == MOST + 1
