"""docs/metrics.md names every metric there is, with its labels and kind, and no other."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.metrics import table
from app.metrics.exposition import exposition
from app.metrics.shared import Sum
from app.metrics.table import Told

DOCS = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
ROW = re.compile(r"^\| `(?P<name>\w+)` \| (?P<kind>counter|gauge|histogram) \| (?P<labels>.*?) ?\| (?P<text>.+) \|$", re.M)
QUERIES = re.findall(r"```promql\n(.*?)```", DOCS, re.S)
COUNTERS = [*table.COUNTERS, table.ENDED_PROCESSES]
HISTOGRAMS = [told for told, _ in table.HISTOGRAMS]
GAUGES = [*table.SUMS, table.STARTED, table.PROCESSES, table.JOBS, table.WAITING_JOBS, table.BUILD]


def told_in_docs() -> dict[str, tuple[str, tuple[str, ...]]]:
    return {match["name"]: (match["kind"], tuple(re.findall(r"`(\w+)`", match["labels"]))) for match in ROW.finditer(DOCS)}


def told_in_code() -> dict[str, tuple[str, tuple[str, ...]]]:
    kinds = {"counter": COUNTERS, "histogram": HISTOGRAMS, "gauge": GAUGES}
    return {
        told.name + ("_total" if kind == "counter" else ""): (kind, told.labels)
        for kind, all_told in kinds.items()
        for told in all_told
    }


def test_every_metric_is_in_the_docs_and_the_other_way_round() -> None:
    assert told_in_docs() == told_in_code()


def test_no_metric_is_left_out_of_these_tables() -> None:
    named = {id(value) for value in vars(table).values() if isinstance(value, Told)}
    rows = {id(told) for value in vars(table).values() if isinstance(value, tuple) for told in _all_told(value)}
    assert named | rows == {id(told) for told in (*COUNTERS, *HISTOGRAMS, *GAUGES)}


def _all_told(value: tuple[object, ...]) -> list[Told]:
    return [one for part in value for one in (part if isinstance(part, tuple) else (part,)) if isinstance(one, Told)]


def test_what_the_page_of_metrics_has_is_in_the_docs() -> None:
    figures = {
        **{(told.key, *told.labels): 1.0 for told in table.COUNTERS},
        **{(told.key, *told.labels, "0"): 1.0 for told in HISTOGRAMS},
    }
    process = {"started": 1.0, **{told.key: 1.0 for told in table.SUMS}}
    page, _ = exposition(Sum(figures, (process,), 1), {("convert", "queued"): 2, ("mesh", "interrupted"): 1}, "")
    families = {family.name: family for family in text_string_to_metric_families(page.decode())}
    docs = told_in_docs()
    assert {name + ("_total" if family.type == "counter" else "") for name, family in families.items()} == set(docs)
    for name, family in families.items():
        kind, labels = docs[name + ("_total" if family.type == "counter" else "")]
        assert (family.type, {label for sample in family.samples for label in sample.labels} - {"le"}) == (kind, set(labels))
        assert family.samples
    assert families["glassine_jobs_waiting"].samples[0].value == 3


@pytest.mark.parametrize("query", QUERIES)
def test_queries_ask_for_what_there_is(query: str) -> None:
    docs = told_in_docs()
    asked = re.findall(r"\b((?:glassine|process)_\w+)(?:\{(.*?)\})?", query)
    assert asked
    for name, selected in asked:
        base = re.sub("_(bucket|sum|count)$", "", name)
        kind, labels = docs[base]
        assert (base == name) == (kind != "histogram")
        assert set(re.findall(r"(\w+)=", selected)) <= set(labels)
    for labels in re.findall(r"by \((.*?)\)", query):
        assert all(any(label in known for _, known in docs.values()) for label in labels.split(", ") if label != "le")
