"""The public names of `headrace.testing` have examples, which run."""

import doctest

import pytest

import headrace as hr
from headrace import testing


@pytest.mark.parametrize("name", testing.__all__)
def test_the_example_of_a_name_runs(name, shop, orders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = getattr(testing, name).__doc__
    if name == "Environment":  # is made by a function, which has the example
        assert "see `environment`" in page
        return
    found = doctest.DocTestParser().get_doctest(page, {"hr": hr, "shop": shop, "orders": orders}, name, None, 0)
    report = []

    result = doctest.DocTestRunner().run(found, out=report.append)

    assert result.attempted > 1
    assert result.failed == 0, "".join(report)
