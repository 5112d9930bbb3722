"""Feedback of two versions is compared by entity, and a winner is named rarely where there is none, however often one looks."""

import numpy as np
import pytest
from scipy import stats

from headrace.deployment import sequential
from headrace.deployment.feedback_metrics import SCALE, Rated, estimate, gap, within

ALPHA = 0.05


def rated(totals, counts, *, split="a", prefix="u"):
    """Sums and numbers of thumbs of each entity."""
    return Rated(
        splits=(split,) * len(totals),
        units=tuple(f"{prefix}{number}" for number in range(len(totals))),
        totals=tuple(map(float, totals)),
        counts=tuple(map(int, counts)),
    )


def joined(*parts):
    return Rated(
        splits=sum((part.splits for part in parts), ()),
        units=sum((part.units for part in parts), ()),
        totals=sum((part.totals for part in parts), ()),
        counts=sum((part.counts for part in parts), ()),
    )


def test_of_one_answer_each_it_is_the_test_of_welch():
    draw = np.random.default_rng(1)
    mine, other = draw.random(400) < 0.62, draw.random(900) < 0.55
    found = gap(rated(mine, [1] * 400), rated(other, [1] * 900), width=1.0)
    welch = stats.ttest_ind(mine.astype(float), other.astype(float), equal_var=False)

    assert found.value == pytest.approx(mine.mean() - other.mean())
    assert found.value / np.sqrt(found.variance) == pytest.approx(welch.statistic)
    assert sequential.p_value_once(found.value, found.variance) == pytest.approx(welch.pvalue, abs=2e-3)
    table = [[mine.sum(), 400 - mine.sum()], [other.sum(), 900 - other.sum()]]
    pooled = stats.chi2_contingency(table, correction=False).pvalue
    assert sequential.p_value_once(found.value, found.variance) == pytest.approx(pooled, abs=2e-3)


def test_of_several_answers_it_is_the_delta_method_and_not_what_rows_would_say():
    draw = np.random.default_rng(2)
    counts = draw.integers(1, 12, 300)
    totals = draw.binomial(counts, draw.beta(2, 2, 300))
    found = estimate(rated(totals, counts), width=1.0)
    value = totals.sum() / counts.sum()
    covariance = np.cov(totals, counts)
    by_hand = (covariance[0, 0] - 2 * value * covariance[0, 1] + value**2 * covariance[1, 1]) / (
        300 * counts.mean() ** 2
    )

    assert found.value == pytest.approx(value)
    assert found.variance == pytest.approx(by_hand)
    assert found.variance > 1.5 * value * (1 - value) / counts.sum()


def looks(draw, candidate, primary, people):
    """Sums and numbers of what people said of either version, at each look; a person says the same again and again, mostly."""
    arms = []
    for share in (candidate, primary):
        own = draw.beta(3 * share, 3 * (1 - share), people)
        counts = draw.geometric(0.4, people)
        arms.append((draw.binomial(counts, own), counts))
    for number in range(40, people + 1, 40):
        yield [(totals[:number], counts[:number]) for totals, counts in arms]


def named(draw, candidate, primary, people, test):
    """Whether a winner is named at some look."""
    for mine, other in looks(draw, candidate, primary, people):
        found = gap(rated(*mine), rated(*other), width=1.0)
        if found is not None and test(found):
            return True
    return False


def always(found):
    return sequential.p_value(sequential.different(found.value, found.variance, scale=SCALE)) <= ALPHA


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_where_there_is_no_winner_none_is_named_more_often_than_alpha(share):
    draw = np.random.default_rng(3)
    ours = np.mean([named(draw, share, share, 400, always) for _ in range(120)])
    naive = np.mean(
        [
            named(draw, share, share, 400, lambda found: sequential.p_value_once(found.value, found.variance) <= ALPHA)
            for _ in range(50)
        ]
    )

    assert ours <= ALPHA
    assert naive > 2 * ALPHA


def test_a_winner_is_named_where_there_is_one():
    draw = np.random.default_rng(4)
    assert np.mean([named(draw, 0.75, 0.5, 600, always) for _ in range(20)]) >= 0.9


def test_the_p_value_and_the_interval_say_the_same():
    for value in np.linspace(-0.3, 0.3, 61):
        p = sequential.p_value(sequential.different(value, 0.002, scale=SCALE))
        assert (p <= ALPHA) == (abs(value) >= sequential.radius(0.002, scale=SCALE, alpha=ALPHA))


def test_a_change_of_the_days_is_no_difference_of_versions():
    """In the first split everybody is content and few have the candidate, in the second one nobody is and half have it."""
    mine = joined(rated([9] * 20, [10] * 20, split="a"), rated([2] * 100, [10] * 100, split="b"))
    other = joined(rated([9] * 180, [10] * 180, split="a"), rated([2] * 100, [10] * 100, split="b"))

    assert sum(mine.totals) / mine.rated < sum(other.totals) / other.rated - 0.2
    assert gap(mine, other, width=1.0).value == pytest.approx(0)


def test_an_entity_that_comes_again_in_the_next_split_counts_once():
    draw = np.random.default_rng(5)
    totals = draw.binomial(5, 0.5, 100)
    once = rated(totals, [5] * 100)
    again = joined(once, rated(totals, [5] * 100, split="b"))
    strangers = joined(once, rated(totals, [5] * 100, split="b", prefix="v"))
    other = joined(*(rated(draw.binomial(5, 0.5, 100), [5] * 100, split=split, prefix=split) for split in "ab"))

    variances = [gap(each, other, width=1.0).variance for each in (again, strangers)]
    assert variances[0] > 1.2 * variances[1]


def test_of_few_nothing_is_said_and_of_all_alike_nobody_is_sure():
    assert estimate(rated([1] * 49, [1] * 49), width=1.0) is None
    assert estimate(rated([50], [100]), width=1.0) is None
    assert gap(rated([1] * 100, [1] * 100), rated([1] * 100, [1] * 100, split="b"), width=1.0) is None
    assert gap(Rated(), Rated(), width=1.0) is None
    alike = gap(rated([1] * 60, [1] * 60), rated([1] * 60, [1] * 60), width=1.0)
    assert alike.value == 0
    assert alike.variance > 0
    assert within(rated([1], [1]), ["b"]) == Rated()
