"""`hr.PromptTuning`: how the instructions of a model's prompts are searched for."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

from headrace.core.declaration import check, check_whole
from headrace.core.errors import DeclarationError
from headrace.lakehouse.declarations import ArrivalTable, Source, Table


@dataclass(frozen=True)
class PromptTuning:
    """A search for better instructions, the `system` sections of a model's prompts: `headrace run tune`.

    A language model reads what went wrong on some examples and proposes another text (GEPA, Agrawal et al. 2025). What comes of
    it is a version like every other, if it is better on examples that the search never saw.

    Args:
        dataset: questions with right answers, others than those of the evaluation, which are refused: a source, a table with
            `key=` and `time=`, or the name of a table that `headrace feedback to-dataset` keeps.
        metric: what is searched by; defaults to the model's main metric.
        calls: how many answers may be asked for, those of the comparison at the end included; defaults to 300.
        proposals: how many texts may be proposed; defaults to 20.
        route: to the model that proposes; defaults to the last route that the model uses.
        held_out: the share of the examples that the search never sees; defaults to 0.3.
        seed: of every random choice; defaults to 0.

    Raises:
        DeclarationError: one of these is not possible.

    Example:
        >>> tuning = hr.PromptTuning("gold.tuning", metric="answer_f1", calls=200, route="large")
        >>> tuning.held_out
        0.3
    """

    dataset: Source | Table | str
    _: KW_ONLY
    metric: str | None = None
    calls: int = 300
    proposals: int = 20
    route: str | None = None
    held_out: float = 0.3
    seed: int = 0
    _arrivals: ArrivalTable | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.dataset, Source):  # found with the declaration, so that a refresh builds it
            object.__setattr__(self, "_arrivals", self.dataset.arrivals)
        check_whole("PromptTuning", calls=self.calls, proposals=self.proposals)
        check_whole("PromptTuning", 0, seed=self.seed)
        text = 'Write a name: "large".'
        check(
            "PromptTuning",
            lambda value: value is None or isinstance(value, str),
            text,
            metric=self.metric,
            route=self.route,
        )
        if not isinstance(self.held_out, int | float) or not 0 < self.held_out < 1:
            raise DeclarationError(f"PromptTuning(held_out={self.held_out!r}) is not possible.", hint="A share: 0.3.")
        if not isinstance(self.dataset, Source | Table | str):
            raise DeclarationError(
                f"PromptTuning({self.dataset!r}) has no examples.",
                hint='Give a source, a table with key= and time=, or the name of a table: "gold.tuning".',
            )
