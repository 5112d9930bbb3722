"""The sample ratio: entities of each version against the shares, looked at often, and what is no mismatch."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy.stats import binomtest, chisquare
from tests.registry.test_move import promote

from headrace.core.text import percent
from headrace.deployment import ratio, sequential
from headrace.registry.records import Share
from headrace.registry.split import write

NEEDED = sequential.needed(ratio.ALPHA / 2)  # of the first split


def off(units, shares):
    return sequential.uneven(units, shares) >= NEEDED


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_what_is_divided_as_asked_is_hardly_ever_told_however_often_one_looks(share):
    draw = np.random.default_rng(3)
    told = often = 0
    for _ in range(400):
        mine = np.cumsum(draw.random(5000) < share)
        looks = range(100, 5001, 50)
        told += any(off([n - int(mine[n - 1]), int(mine[n - 1])], [1 - share, share]) for n in looks)
        often += any(binomtest(int(mine[n - 1]), n, share).pvalue < 0.05 for n in list(looks)[::7])
    assert told <= 3  # 400 times 0.001, and chance
    assert often > 60  # a test for one look, at 5 %, tells a seventh of them at least


@pytest.mark.parametrize(("mine", "of"), [(258, 900), (623, 900), (4812, 10_000), (261, 900), (70, 1000)])
def test_what_is_told_is_what_a_chi_square_test_rules_out(mine, of):
    share = 0.05 if of == 1000 else 0.5
    p = chisquare([of - mine, mine], [of * (1 - share), of * share]).pvalue
    assert off([of - mine, mine], [1 - share, share]) == (p < 1e-5), p


def test_three_versions_are_tested_together():
    assert not off([800, 105, 95], [0.8, 0.1, 0.1])
    assert off([800, 150, 50], [0.8, 0.1, 0.1])


class TestOfALog:
    """Version 2 has half of the traffic by the customer."""

    @pytest.fixture
    def split(self, registry):
        promote(registry, 1)
        with registry.state.begin() as connection:
            return write(
                connection, registry.traffic.current("days"), candidates=(Share(version=2, weight=0.5),),
                columns=("customer",), by="ada", reason="to see",
            )  # fmt: skip

    def told(self, world, split):
        since = datetime.now(UTC) - timedelta(hours=1)
        (found,) = ratio.ratios(world.lakehouse, "days", [split], since=since)
        return found

    @pytest.mark.parametrize("guest", [None, "", "null"])
    def test_guests_that_all_follow_one_coin_are_told(self, world, split, guest):
        known = [f"c{n}" for n in range(260)]
        world.answer(2, "candidate", split.id, range(260), [0.5] * 260, customers=known)
        world.answer(1, "primary", split.id, range(260, 520), [0.5] * 260, customers=[f"d{n}" for n in range(260)])
        assert not self.told(world, split).is_off
        world.answer(1, "primary", split.id, range(520, 900), [0.5] * 380, customers=[guest] * 380)
        found = self.told(world, split)
        assert [(part.version, part.entities) for part in found.parts] == [(1, 640), (2, 260)]
        assert found.is_off
        assert (
            found.explanation
            == f"sample ratio: version 2 has 260 of 900 entities, {percent(0.5)} asked, in split days.1"
        )

    def test_one_entity_that_asks_much_is_no_mismatch_and_is_shown(self, world, split):
        world.answer(2, "candidate", split.id, range(100), [0.5] * 100, customers=[f"c{n}" for n in range(100)])
        world.answer(1, "primary", split.id, range(100, 200), [0.5] * 100, customers=[f"d{n}" for n in range(100)])
        world.answer(2, "candidate", split.id, range(200, 1000), [0.5] * 800, customers=["bot"] * 800)
        found = self.told(world, split)
        assert [part.entities for part in found.parts] == [100, 101]
        assert not found.is_off
        assert found.parts[1].heaviest == pytest.approx(800 / 900)
