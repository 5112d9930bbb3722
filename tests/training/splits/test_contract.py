"""What every split keeps to: those that Headrace brings, and one from outside."""

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace as hr
from headrace.core.errors import DataError, DeclarationError
from headrace.training.splits.base import SplitRows

START = datetime(2024, 1, 1, tzinfo=UTC)
AS_OF = START + timedelta(days=40)


@dataclass(frozen=True)
class EveryThird(hr.Split):
    """From outside: every third decision, by its key."""

    def held_out(self, rows):
        return (rows.keys["id"] % 3 == 0).to_numpy()


SPLITS = {
    "by_time": hr.by_time("10d"),
    "at_random": hr.at_random(0.3),
    "stratified": hr.stratified(0.25),
    "stratified by a column": hr.stratified(0.25, by="shop"),
    "by_group": hr.by_group("customer", share=0.3),
    "by_column": hr.by_column("part"),
    "outside": EveryThird(),
}
every = pytest.mark.parametrize("split", SPLITS.values(), ids=list(SPLITS))


def drawn(seed, count=200):
    draw = np.random.default_rng(seed)
    at = pd.Series([START + timedelta(hours=int(hour)) for hour in draw.integers(0, 24 * 39, count)])
    columns = pd.DataFrame(
        {
            "customer": draw.integers(0, 20, count),
            "shop": draw.choice(["a", "b", "c"], count, p=[0.7, 0.2, 0.1]),
            "part": draw.choice(["train", "test"], count),
        }
    )
    labels = pd.Series(draw.choice(["x", "y"], count, p=[0.9, 0.1]), dtype=object)
    return SplitRows(
        at=at.astype("datetime64[us, UTC]"),
        keys=pd.DataFrame({"id": range(count)}),
        labels=labels,
        columns=columns,
        as_of=AS_OF,
    )


def taken(rows, places):
    """The same decisions in another order."""
    return SplitRows(
        at=rows.at.iloc[places],
        keys=rows.keys.iloc[places],
        labels=rows.labels.iloc[places],
        columns=rows.columns.iloc[places],
        as_of=rows.as_of,
    )


@every
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_it_holds_out_some_and_not_all_and_says_so_by_row(split, seed):
    rows = drawn(seed)
    held_out = split.held_out(rows)

    assert held_out.dtype == bool
    assert len(held_out) == len(rows.at)
    assert 0 < held_out.sum() < len(held_out)


@every
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), order=st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(split, seed, order):
    rows = drawn(seed)
    places = list(range(len(rows.at)))
    order.shuffle(places)

    assert split.held_out(taken(rows, places)).tolist() == split.held_out(rows)[places].tolist()


@every
def test_its_units_stay_together(split):
    rows = drawn(1)
    held_out = pd.Series(split.held_out(rows))
    units = rows.columns[list(split.units)] if split.units else rows.keys

    assert held_out.groupby([units[name] for name in units.columns]).nunique().max() == 1
    assert set(split.units) <= set(split.columns)


@every
def test_by_time_means_that_what_is_tested_comes_later(split):
    rows = drawn(2)
    held_out = split.held_out(rows)
    moments = rows.at.to_numpy()
    later = moments[held_out].min() > moments[~held_out].max()

    assert split.by_time == later == (split.begins(AS_OF) is not None)


def test_another_process_holds_out_the_same():
    program = (
        "import json; from tests.training.splits.test_contract import SPLITS, drawn\n"
        "print(json.dumps({name: [repr(split), split.held_out(drawn(3)).tolist()] for name, split in SPLITS.items()}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    mine = {name: [repr(split), split.held_out(drawn(3)).tolist()] for name, split in SPLITS.items()}
    assert json.loads(done.stdout) == mine


def test_shares_are_about_what_is_declared_and_another_seed_holds_out_others():
    rows = drawn(4, count=20_000)
    one, other = hr.at_random(0.2).held_out(rows), hr.at_random(0.2, seed=1).held_out(rows)

    assert one.mean() == pytest.approx(0.2, abs=0.01)
    assert (one & other).mean() == pytest.approx(0.04, abs=0.01)  # no more in common than chance has it


@pytest.mark.parametrize("by", [None, "shop"])
def test_each_stratum_gives_its_share(by):
    """Beside scikit-learn, whose shares are those of its own stratified division."""
    from sklearn.model_selection import train_test_split

    rows = drawn(5, count=1000)
    strata = rows.labels if by is None else rows.columns[by]
    held_out = hr.stratified(0.25, by=by).held_out(rows)
    _, theirs = train_test_split(strata, test_size=0.25, stratify=strata, random_state=0)

    mine = strata[held_out].value_counts()
    assert (mine - theirs.value_counts()).abs().max() <= 1


def test_a_stratum_of_two_is_in_both_and_one_alone_is_fitted_on():
    rows = drawn(6, count=3)
    rows = SplitRows(
        at=rows.at, keys=rows.keys, labels=pd.Series(["a", "a", "b"], dtype=object), columns=rows.columns, as_of=AS_OF
    )
    held_out = hr.stratified(0.1).held_out(rows)

    assert held_out[:2].sum() == 1
    assert not held_out[2]


def test_a_column_that_says_nothing_is_refused_with_what_there_is():
    rows = drawn(7)
    with pytest.raises(DataError, match=r"no labelled decision has 'holdout' in 'part': there is 'test', 'train'"):
        hr.by_column("part", test="holdout").held_out(rows)
    rows.columns.loc[3, "part"] = None
    with pytest.raises(DataError, match="1 of 200 labelled decisions have no value in 'part'"):
        hr.by_column("part").held_out(rows)


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (lambda: hr.at_random(1.0), "share=1.0"),
        (lambda: hr.at_random(0), "share=0"),
        (lambda: hr.at_random("20%"), "share='20%'"),
        (lambda: hr.at_random(0.2, seed=0.5), "seed=0.5"),
        (lambda: hr.stratified(2), "share=2"),
        (hr.by_group, "names no column"),
        (lambda: hr.by_group(3), "by_group"),
        (lambda: hr.by_time("a week"), "by_time"),
        (lambda: hr.by_column("part", test=1), "test=1"),
        (lambda: hr.Evaluate(test=0.2), "test=0.2"),
    ],
)
def test_what_is_not_possible_is_refused(declare, says):
    with pytest.raises(DeclarationError) as refused:
        declare()
    assert says in str(refused.value)
