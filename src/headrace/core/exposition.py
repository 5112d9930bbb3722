"""Prometheus' text format: https://prometheus.io/docs/instrumenting/exposition_formats/."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Sample(NamedTuple):
    """A value of a metric.

    Attributes:
        labels: name → value; any text.
        suffix: behind the metric's name: `_bucket`, `_sum`, `_count`.
    """

    labels: Mapping[str, object]
    value: float | str
    suffix: str = ""


def metric(name: str, kind: Literal["counter", "gauge", "histogram"], what: str, samples: Iterable[Sample]) -> str:
    """One metric: what it is, and its samples."""
    told = what.replace("\\", "\\\\").replace("\n", "\\n")
    lines = [f"# HELP {name} {told}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{each.suffix}{{{_labels(each.labels)}}} {each.value}" for each in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, object]) -> str:
    return ",".join([f'{name}="{_escaped(str(value))}"' for name, value in labels.items()])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
