"""The energy distance against its definition, and its test against samples of one distribution."""

import numpy as np
import pytest

from headrace.monitoring.energy import energy_test


def mean_distance(a, b):
    return np.mean([[np.linalg.norm(x - y) for y in b] for x in a])


@pytest.mark.parametrize(("n", "m"), [(7, 9), (2, 30)])
def test_the_distance_is_that_of_the_definition(n, m):
    random = np.random.default_rng(n)
    x, y = random.normal(size=(n, 3)), random.normal(1, size=(m, 3))
    energy = 2 * mean_distance(x, y) - mean_distance(x, x) - mean_distance(y, y)
    assert energy_test(x, y).distance == pytest.approx(energy / (2 * mean_distance(x, y)))


def test_samples_of_one_distribution_are_rarely_told_apart_and_others_are():
    random = np.random.default_rng(3)
    same = [energy_test(random.normal(size=(25, 4)), random.normal(size=(30, 4))).p_value for _ in range(100)]
    assert np.mean(np.array(same) <= 0.05) < 0.15
    assert energy_test(random.normal(size=(25, 4)), random.normal(2, size=(30, 4))).p_value <= 0.01


def test_equal_rows_have_no_distance():
    found = energy_test(np.ones((5, 3)), np.ones((4, 3)))
    assert (found.distance, found.p_value) == (0.0, 1.0)
