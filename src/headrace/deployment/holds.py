"""Rules that hold a rollout because they cannot be judged. Missing data does not pass: the rollout waits, and says for what.

* A rule on labels that finds none, or far fewer than expected, although labels are known: those of the version in
  Production in the same split, or of the decisions of that time in the spine. It holds every step.
* A rule without a result at the end of the last step. It holds the rollout there, until there is enough data, or a
  person waives the rule; unless it was declared with `late=True` and no labels came.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.core.text import counted as many
from headrace.deployment import traffic_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from headrace.deployment.declarations import Guardrail
    from headrace.deployment.traffic_metrics import AnsweredBy, Seen
    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.training.declarations import Model

FEWER = 0.5  # of the labels that are to be expected
CHANCE = 0.001  # that so few are seen where so many are to be expected


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A rule that cannot be judged.

    Attributes:
        rule: its name.
        reason: for a person.
        at_the_end: holds the last step only.
    """

    rule: str
    reason: str
    at_the_end: bool = False


def unseen(lakehouse: Lakehouse, model: Model, mine: AnsweredBy, other: AnsweredBy, *, as_of: datetime) -> str | None:
    """Why labels do not seem to find a candidate's answers; None where they do, or where there are none to find.

    Args:
        lakehouse: where decisions and labels are.
        model: says which.
        mine: of the candidate.
        other: of the version in Production.
        as_of: labels known by then count.
    """
    answers = sum(seen.answers for seen in mine.seen.values())
    labelled = sum(seen.labelled for seen in mine.seen.values())
    sees = f"it sees {many(labelled, 'label')} of {many(answers, 'answer')}"
    if (found := fewer(mine.seen, other.seen)) is not None:
        return f"{sees}, while {found[2]:,} of {found[3]:,} of the version in Production in the same time have one"

    def there(split: str) -> Seen | None:
        seen = mine.seen[split]
        return traffic_metrics.labels_there(lakehouse, model, first=seen.first, last=seen.last, as_of=as_of)

    spine = {split: found for split in mine.seen if (found := there(split)) is not None}
    if _too_few(labelled, _expected(mine.seen, spine.get)):
        known = sum(seen.labelled for seen in spine.values())
        decisions = sum(seen.answers for seen in spine.values())
        return (
            f"{sees}, while {many(known, 'label')} of {many(decisions, 'decision')} of that time "
            f"{'is' if known == 1 else 'are'} known: compare the keys of {model.task.label.table.name} with those of requests"
        )
    return None


def fewer(mine: Mapping[str, Seen], other: Mapping[str, Seen]) -> tuple[int, int, int, int] | None:
    """Labels and answers of a version, and those of another one in the same splits, where it has far fewer; None otherwise."""
    labelled = sum(seen.labelled for seen in mine.values())
    if not _too_few(labelled, _expected(mine, other.get)):
        return None
    theirs = [other[split] for split in mine if split in other]
    answers = sum(seen.answers for seen in mine.values())
    return labelled, answers, sum(seen.labelled for seen in theirs), sum(seen.answers for seen in theirs)


def empty(mine: AnsweredBy, other: AnsweredBy) -> tuple[int, int, float]:
    """A candidate's answers that hold nothing, of how many, and the share that is accepted: twice that of Production."""
    theirs = sum(seen.answers for seen in other.seen.values())
    share = sum(seen.empty for seen in other.seen.values()) / max(theirs, 1)
    nothing, answers = (sum(getattr(seen, name) for seen in mine.seen.values()) for name in ("empty", "answers"))
    return nothing, answers, min(max(0.01, 2 * share), 0.99)


def untold(rule: Guardrail, mine: AnsweredBy | None, other: AnsweredBy | None) -> Hold | None:
    """Holds the end of a rollout for a rule on labels of which nothing could be said; None for one that may go without."""
    counts = [0 if each is None else len(each.labelled) for each in (mine, other)]
    enough = (
        min(counts) >= traffic_metrics.FEWEST_ROWS
        if rule.worse_by is not None
        else counts[0] >= traffic_metrics.FEWEST_ROWS
    )
    if rule.late and not enough:
        return None
    labels = f"{many(counts[0], 'labelled answer')} of the candidate and {counts[1]:,} of the version in Production"
    reason = f"nothing can be said by {labels}; it takes {traffic_metrics.FEWEST_ROWS} of {traffic_metrics.FEWEST_GROUPS} entities of each in one split"
    return Hold(rule=rule.name, reason=f"{rule.name}: {reason}", at_the_end=True)


def _expected(mine: Mapping[str, Seen], reference: Callable[[str], Seen | None]) -> float:
    """The labels that answers should have, by the share that others have in the same split; careful where those are few."""
    total = 0.0
    for split, seen in mine.items():
        theirs = reference(split)
        if theirs is not None and theirs.answers:
            sure = max(0.0, theirs.labelled - 2 * math.sqrt(theirs.labelled))
            total += seen.answers * sure / theirs.answers
    return total


def _too_few(labelled: int, expected: float) -> bool:
    """Whether a Poisson variable of half of what is expected would hardly ever be so small."""
    mean = FEWER * expected
    if labelled >= mean:
        return False
    logs = [count * math.log(mean) - mean - math.lgamma(count + 1) for count in range(labelled + 1)]
    return sum(map(math.exp, logs)) < CHANCE
