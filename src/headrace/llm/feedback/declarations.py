"""Declaration of the feedback that people give on the answers of a model."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from headrace.core.declaration import check, check_durations, check_flags, check_names, check_numbers
from headrace.core.errors import DeclarationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Explicit = Literal["thumbs", "score", "correction", "text"]
Implicit = Literal["retry", "copy", "handover"]
Source = Literal["api", "widget", "sdk", "simulated"]
EXPLICIT: tuple[Explicit, ...] = get_args(Explicit)
IMPLICIT: tuple[Implicit, ...] = get_args(Implicit)
SOURCES: tuple[Source, ...] = get_args(Source)  # who sent it
PREFIX = "feedback."  # of a kind as the metric of a rollout
METRICS: Mapping[str, Literal["maximize", "minimize"]] = {  # by kind, in which direction it is good; texts have none
    "thumbs": "maximize",  # the share that is up
    "score": "maximize",  # the mean
    "correction": "minimize",  # the share of the answers, as of all below
    "retry": "minimize",
    "copy": "maximize",
    "handover": "minimize",
}
REFERENCES: tuple[Explicit, ...] = ("correction", "thumbs")  # the first one that an answer has is its reference


@dataclass(frozen=True, init=False)
class Feedback:
    """What people may say of the answers of a model, and what counts as said without words.

    A server of the model takes it at `POST /models/<model>/feedback`, and the table `metrics.feedback` has it within seconds.

    Args:
        kinds: what people say: `"thumbs"`, up or down; `"score"`, a number; `"correction"`, the right answer as text; `"text"`,
            a comment. Defaults to none.
        implicit: what people do: `"retry"`, they asked again; `"copy"`, they took the answer over; `"handover"`, they went on
            to a person. Defaults to none. One kind or implicit kind is needed.
        scale: the lowest and the highest score; defaults to `(1, 5)`.
        within: how long after an answer feedback on it counts in rates; what comes later is kept, and counted as late.
            Defaults to `"7d"`.
        references: what makes an answer a row of a data set: `"correction"`, the corrected answer is the reference; `"thumbs"`,
            an answer with thumbs up is its own reference. Defaults to `("correction",)` where it is a kind, else to
            `("thumbs",)` where that is one.
        widget: whether servers have `GET /feedback.js`, a small widget for web pages; it needs `"thumbs"`. Defaults to no.

    Raises:
        DeclarationError: a kind that is not known or named twice, no kind, or a value that is not possible.

    Example:
        >>> feedback = hr.Feedback("thumbs", "correction", implicit=["copy"], within="2d", widget=True)
        >>> feedback.takes
        ('thumbs', 'correction', 'copy')
        >>> hr.Feedback("stars")
        Traceback (most recent call last):
        headrace.core.errors.DeclarationError: Feedback('stars') is not known.
        There is 'thumbs', 'score', 'correction', 'text'; implicit=[…] has 'retry', 'copy', 'handover'.
    """

    kinds: tuple[Explicit, ...]
    implicit: tuple[Implicit, ...]
    scale: tuple[float, float]
    within: str
    references: tuple[Explicit, ...]
    widget: bool

    def __init__(
        self,
        *kinds: Explicit,
        implicit: Sequence[Implicit] = (),
        scale: tuple[float, float] = (1, 5),
        within: str = "7d",
        references: Sequence[Explicit] | None = None,
        widget: bool = False,
    ) -> None:
        _check_kinds(kinds, EXPLICIT, "Feedback({!r})")
        check_names("Feedback", implicit=implicit)
        _check_kinds(implicit, IMPLICIT, "Feedback(implicit=[{!r}])")
        if not kinds and not implicit:
            raise DeclarationError("Feedback() takes nothing.", hint='Name a kind: hr.Feedback("thumbs").')
        check("Feedback", _is_pair, "Write the lowest and the highest score: (1, 5).", scale=scale)
        low, high = scale
        check_numbers("Feedback", scale=low)
        check_numbers("Feedback", scale=high)
        if low >= high:
            raise DeclarationError(
                f"Feedback(scale={tuple(scale)!r}) is not possible.", hint="The lowest score comes first."
            )
        check_durations("Feedback", within=within)
        check_flags("Feedback", widget=widget)
        if widget and "thumbs" not in kinds:
            raise DeclarationError("Feedback(widget=True) shows thumbs.", hint='hr.Feedback("thumbs", widget=True)')
        possible: tuple[Explicit, ...] = tuple(each for each in REFERENCES if each in kinds)
        chosen: Sequence[Explicit] = possible[:1] if references is None else references
        check_names("Feedback", references=chosen)
        for each in chosen:
            if each not in possible:
                raise DeclarationError(
                    f"Feedback(references=[{each!r}]) is not possible.",
                    hint=f"Of the declared kinds: {', '.join(map(repr, possible)) or 'none'}.",
                )
        for name, value in {
            "kinds": tuple(kinds),
            "implicit": tuple(implicit),
            "scale": (float(low), float(high)),
            "within": within,
            "references": tuple(chosen),
            "widget": widget,
        }.items():
            object.__setattr__(self, name, value)

    @property
    def takes(self) -> tuple[str, ...]:
        """All kinds, in the order of their declaration."""
        return (*self.kinds, *self.implicit)

    @property
    def metrics(self) -> tuple[str, ...]:
        """What rollouts can go by, `"feedback.thumbs"`: every kind but comments, in the order of their declaration."""
        return tuple(f"{PREFIX}{kind}" for kind in self.takes if kind in METRICS)

    def to_json(self) -> dict[str, Any]:
        """The declaration as a server's files keep it.

        Returns:
            Parameter → value; `kinds` are the positional ones.
        """
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Feedback:
        """The declaration that `to_json` gave.

        Args:
            stored: what it returned, also after it was JSON.

        Returns:
            An equal declaration.

        Raises:
            DeclarationError, TypeError, KeyError: it is none.
        """
        values = dict(stored)
        low, high = cast("Sequence[float]", values.pop("scale"))
        return cls(*values.pop("kinds"), scale=(low, high), **values)


def direction(metric: str) -> Literal["maximize", "minimize"] | None:
    """In which direction a metric of feedback is good; None for what is none."""
    return METRICS.get(metric.removeprefix(PREFIX)) if metric.startswith(PREFIX) else None


def _check_kinds(given: Iterable[object], known: Sequence[str], said: str) -> None:
    seen: set[object] = set()
    for each in given:
        if not isinstance(each, str) or each not in known:
            raise DeclarationError(
                f"{said.format(each)} is not known.",
                hint=f"There is {', '.join(map(repr, EXPLICIT))}; implicit=[…] has {', '.join(map(repr, IMPLICIT))}.",
            )
        if each in seen:
            raise DeclarationError(f"{said.format(each)} is named twice.", hint="Name it once.")
        seen.add(each)


def _is_pair(value: object) -> bool:
    return isinstance(value, list | tuple) and len(cast("Sequence[object]", value)) == 2
