"""Grafana's dashboards as Python: one module each; `make generate` writes them into the chart."""
