import pickle

import pytest

from headrace.core import errors
from headrace.core.errors import BusyError, DataError, HeadraceError, MissingExtraError, NotFoundError, RefusedError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HeadraceError)]


def test_an_error_says_what_happened_its_findings_and_the_next_step():
    error = DataError("2 rows break a promise.", hint="See `headrace table show`.", findings=["row 1", "row 2"])
    assert str(error).splitlines() == ["2 rows break a promise.", "  row 1", "  row 2", "See `headrace table show`."]


def test_findings_are_kept_whole_and_printed_to_the_tenth():
    error = DataError("bad", findings=[f"row {n}" for n in range(25)])
    lines = str(error).splitlines()
    assert len(lines) == 12
    assert lines[10] == "  row 9"
    assert lines[11] == "  … and 15 more"
    assert len(error.findings) == 25


@pytest.mark.parametrize(
    ("name", "known", "says"),
    [
        ("silver.fligths", ["silver.flights", "gold.x"], "did you mean 'silver.flights'?"),
        ("zzz", ["b", "a"], "there is 'a', 'b'."),
        ("zzz", [str(n) for n in range(20)], "'17' …"),
        ("zzz", [], "there is none yet."),
        ("zzz", None, "no table 'zzz'."),
    ],
)
def test_a_name_that_is_not_there_is_met_with_what_is(name, known, says):
    error = NotFoundError("table", name, known)
    assert str(error).startswith(f"no table {name!r}")
    assert str(error).endswith(says)


def test_a_missing_extra_says_what_to_install():
    assert "pip install 'headrace[train]'" in str(MissingExtraError("sklearn", "train", "Calibration"))


def test_busy_is_a_kind_of_refused():
    assert issubclass(BusyError, RefusedError)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_travels_between_processes(kind):
    if kind is NotFoundError:
        error = kind("run", "ab", ["abc"], hint="See `headrace runs list`.")
    elif kind is MissingExtraError:
        error = kind("sklearn", "train", "Calibration")
    else:
        error = kind("what", hint="hint", findings=["one", "two"])
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert str(back) == str(error)
    assert vars(back) == vars(error)
    assert back.exit_code == error.exit_code
