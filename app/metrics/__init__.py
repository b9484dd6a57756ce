"""/metrics: what the server does, counted where requests pass and told in the formats of Prometheus (docs/metrics.md)."""
