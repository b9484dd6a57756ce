"""What a page of metrics says, read by the library that Prometheus' users read it with."""

import httpx
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

OPENMETRICS = "application/openmetrics-text; version=1.0.0"

Samples = dict[tuple[str, ...], float]
"""By name and the labels, name=value, in order."""


def samples_of(client: httpx.Client, accept: str = "text/plain") -> Samples:
    """Return what /metrics says now."""
    answer = client.get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    read = read_openmetrics if accept == OPENMETRICS else read_text
    found: Samples = {}
    for family in read(answer.text):
        for sample in family.samples:
            key = (sample.name, *sorted(f"{name}={value}" for name, value in sample.labels.items()))
            assert key not in found, f"told twice: {key}"
            found[key] = sample.value
    return found


def of(samples: Samples, name: str) -> dict[str, float]:
    """Return the samples of a name by their labels."""
    return {" ".join(labels): value for (first, *labels), value in samples.items() if first == name}
