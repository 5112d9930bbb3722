"""Which distribution holds which module: the same as the standard library finds, which reads more files for it."""

from importlib import metadata

from headrace.training.distributions import owners


def test_modules_are_of_the_distributions_that_the_standard_library_finds():
    found = owners()
    theirs = {module: sorted(set(names)) for module, names in metadata.packages_distributions().items()}
    theirs = {module: names for module, names in theirs.items() if module.isidentifier() and module != "headrace"}

    assert {module: found.get(module) for module in theirs} == theirs
    assert found["headrace"] == ["headrace"]
    assert found["sklearn"] == ["scikit-learn"]


def test_a_project_does_not_count_among_them(tmp_path):
    assert owners(tmp_path) == owners()
