"""Which decisions are fitted on, which calibrate, and which test: a split says what is held out, halves of which calibrate."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from headrace.core.errors import DataError
from headrace.training.labels import instants
from headrace.training.splits.base import SplitRows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from headrace.features.plan import FeaturePlan
    from headrace.training.labels import Labels
    from headrace.training.splits.base import Split

Places = np.ndarray[tuple[int], np.dtype[np.intp]]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What became of the decisions.

    Attributes:
        decisions: all of them.
        after: decided after the training moment.
        undated: without a moment of decision.
        unlabelled: without a label known at the training moment.
        early: the label was known before the decision; fitted on, it would leak.
        replaced: label rows that a later label replaced.
        not_yet: label rows that became known after the training moment.
        fit: fitted on.
        calibrate: held out to calibrate.
        test: held out to test.
    """

    decisions: int
    after: int
    undated: int
    unlabelled: int
    early: int
    replaced: int
    not_yet: int
    fit: int
    calibrate: int
    test: int

    def to_json(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class RowSplit:
    """Places of rows, each in the order of time. No place is in two of them.

    Attributes:
        fit: what is not held out.
        calibrate: half of what is held out, by a hash of the key; empty when the task does not calibrate.
        test: the rest of what is held out.
        counts: what became of all decisions.
    """

    fit: Places
    calibrate: Places
    test: Places
    counts: Counts


def split(
    at: pd.Series,
    keys: pd.DataFrame,
    labels: Labels,
    *,
    as_of: datetime,
    test: Split,
    calibrate: bool,
    columns: pd.DataFrame | None = None,
    fits: bool = True,
    seen: pd.Series | None = None,
) -> RowSplit:
    """Splits labelled decisions.

    Args:
        at: the moment of each decision.
        keys: the key of each decision, same index.
        labels: the label of each decision, same index.
        as_of: the training moment; later decisions take no part.
        test: which of them are held out.
        calibrate: whether half of those is set aside to calibrate.
        columns: of the spine, that the split reads; same index.
        fits: whether something is fitted; otherwise there may be no row to fit on.
        seen: which of them a version was fitted on that is only to be tested: none of these tests it. Same index.

    Raises:
        DataError: nothing to fit on, to calibrate with or to test on; the message says what there is.
    """
    moments = instants(at)
    beside = pd.DataFrame(index=at.index) if columns is None else columns
    dated = moments.notna()
    before = dated & (moments <= as_of)
    early = before & labels.early
    usable = before & labels.y.notna()
    held_out = pd.Series(data=False, index=at.index)
    if usable.any():
        rows = SplitRows(
            at=moments[usable], keys=keys[usable], labels=labels.y[usable], columns=beside[usable], as_of=as_of
        )
        held_out[usable] = test.held_out(rows)
    if seen is not None:
        if held_out.any() and not (held_out & ~seen).any():
            raise DataError(
                f"the version was fitted on all of the {int(held_out.sum()):,} decisions that would test it here.",
                hint="Promote it when labels of later decisions are known here.",
            )
        held_out &= ~seen
    to_calibrate = pd.Series(data=False, index=at.index)
    if calibrate:
        to_calibrate[held_out] = halves((beside[list(test.units)] if test.units else keys)[held_out])
    parts = {
        name: _ordered(chosen, moments)
        for name, chosen in (
            ("fit", usable & ~held_out),
            ("calibrate", held_out & to_calibrate),
            ("test", held_out & ~to_calibrate),
        )
    }
    counts = Counts(
        decisions=len(at),
        after=int((dated & ~before).sum()),
        undated=int((~dated).sum()),
        unlabelled=int((before & labels.y.isna() & ~early).sum()),
        early=int(early.sum()),
        replaced=labels.replaced,
        not_yet=labels.not_yet,
        **{name: len(places) for name, places in parts.items()},
    )
    for name in (*(("fit",) if fits else ()), "test", *(("calibrate",) if calibrate else ())):
        if not len(parts[name]):
            raise _empty(name, moments[usable], counts, as_of, test)
    return RowSplit(fit=parts["fit"], calibrate=parts["calibrate"], test=parts["test"], counts=counts)


def latest(at: pd.Series, share: float) -> tuple[Places, Places]:
    """Places of the earlier and of the latest rows, the latter about `share` of all; rows of one moment stay together.

    Raises:
        DataError: one of the two would be empty.
    """
    moments = instants(at)
    border = moments.sort_values(ignore_index=True).iloc[min(round(len(moments) * (1 - share)), len(moments) - 1)]
    late = (moments >= border).to_numpy()
    if late.all():  # many rows at the first moment: they stay in the earlier part
        late = (moments > border).to_numpy()
    if late.all() or not late.any():
        raise DataError(
            f"{len(moments)} rows to fit on cannot be divided by time into an earlier and a later part.",
            hint="Tuning judges trials on the latest rows (Tune(validate=…)); give it more rows, or leave tune= out.",
        )
    return np.flatnonzero(~late), np.flatnonzero(late)


def last(at: pd.Series, share: float) -> tuple[Places, Places]:
    """Places of the first rows and of the last ones, the latter about `share` of all: for rows whose order says nothing.

    Raises:
        DataError: one of the two would be empty.
    """
    border = round(len(at) * (1 - share))
    if not 0 < border < len(at):
        raise DataError(
            f"{len(at)} rows to fit on cannot be divided into {1 - share:.0%} and {share:.0%}.",
            hint="Tuning judges trials on a share of the rows (Tune(validate=…)); give it more rows, or leave tune= out.",
        )
    return np.arange(border), np.arange(border, len(at))


def halves(keys: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """True for about half of the keys; always the same for the same key, whatever other rows there are."""
    columns = [keys[column].astype(str) for column in keys.columns]
    texts = ("\x1f".join(parts) for parts in zip(*columns, strict=True))
    return np.fromiter((blake2b(text.encode(), digest_size=1).digest()[0] & 1 for text in texts), dtype=np.bool_)


def check_labels(y: pd.Series, what: str) -> None:
    """Refuses rows that all have the same label.

    Raises:
        DataError: there is only one class, or no row.
    """
    classes = y.unique().tolist()
    if not classes:
        raise DataError(f"there are no rows to {what}.", hint="Choose a later training moment with --as-of.")
    if len(classes) == 1:
        shown = int(classes[0]) if isinstance(classes[0], float) and classes[0].is_integer() else classes[0]
        raise DataError(
            f"all {len(y)} rows to {what} have the same label, {shown!r}: there is nothing to learn from them.",
            hint="Look at the label's table, or choose another training moment with --as-of.",
        )


def check_features(plan: FeaturePlan, computed: pd.DataFrame) -> None:
    """Refuses features that are missing in every row to fit on.

    Raises:
        DataError: such a feature is not declared as optional.
    """
    required: Mapping[str, bool] = {feature.name: not feature.optional for feature in plan.features}
    empty = [name for name in plan.names if required[name] and computed[name].isna().all()]
    if empty:
        raise DataError(
            f"{len(empty)} of {len(plan.names)} features are missing in all {len(computed)} rows to fit on: {', '.join(empty)}.",
            hint="Is the table empty, made too late, or look_back= too short? Where it is meant: select(…, optional=True).",
        )


def _ordered(chosen: pd.Series, moments: pd.Series) -> Places:
    places = np.flatnonzero(chosen.to_numpy())
    return places[np.argsort(moments.iloc[places].to_numpy(), kind="stable")]


def _empty(part: str, usable: pd.Series, counts: Counts, as_of: datetime, test: Split) -> DataError:
    since = test.begins(as_of)
    told = [f"{name} {number}" for name, number in counts.to_json().items() if number]
    if usable.empty:
        return DataError(
            f"there is no labelled decision up to the training moment {as_of:%Y-%m-%d %H:%M} UTC.",
            findings=[", ".join(told)] if told else ["the spine is empty"],
            hint="Choose another training moment with --as-of, or look at the label's table: its time says when a label became known.",
        )
    if since is None:
        return DataError(
            f"nothing to {part} on: {test} leaves none of {len(usable)} labelled decisions for it.",
            findings=[", ".join(told)],
            hint="Hold out another share, Evaluate(test=…), or choose a later training moment with --as-of.",
        )
    window = f"{since:%Y-%m-%d %H:%M} to {as_of:%Y-%m-%d %H:%M} UTC"
    first, last = usable.min(), usable.max()
    if last <= pd.Timestamp(since):
        later = (last + timedelta(days=1)).strftime("%Y-%m-%d")
        return DataError(
            f"nothing to {part} on in the held-out window {window}: the labelled decisions end at {last:%Y-%m-%d %H:%M} UTC.",
            findings=[", ".join(told)],
            hint=f"Train as of a moment when there was data: --as-of {later}",
        )
    return DataError(
        f"nothing to {part} on: the labelled decisions go from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC, the held-out window from {window}.",
        findings=[", ".join(told)],
        hint="Shorten the window, Evaluate(test=…), or choose a later training moment with --as-of.",
    )
