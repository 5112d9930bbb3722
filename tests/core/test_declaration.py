from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path

import pytest

from headrace.core import declaration
from headrace.core.declaration import Declaration, Location, caller


@dataclass(frozen=True)
class Thing(Declaration):
    size: int = 1


def source(name, path):
    """A function `make` that comes from a file of that path."""
    scope = {"Thing": Thing, "caller": caller}
    exec(compile("\n\ndef make():\n    return Thing('a'), caller()\n", str(path), "exec"), scope)
    return scope[name]


def test_a_declaration_knows_the_line_where_it_stands():
    first = Thing("a")
    second = Thing("b", description="words", owner="me")
    assert Path(first.where.file) == Path(__file__)
    assert second.where.line == first.where.line + 1
    assert str(first.where) == f"{__file__}:{first.where.line}"


def test_the_place_is_the_users_also_when_headrace_itself_builds_the_declaration():
    inside = Path(declaration.__file__).parent.parent / "features" / "made_up.py"
    made, place = source("make", inside)()
    assert Path(made.where.file) == Path(__file__)
    assert Path(place.file) == Path(__file__)


@pytest.mark.parametrize("beside", ["headrace/examples/made_up.py", "headrace_plugin/made_up.py"])
def test_examples_and_packages_with_a_similar_name_are_users(beside):
    outside = Path(declaration.__file__).parent.parent.parent / beside
    made, place = source("make", outside)()
    assert made.where == place == Location(str(outside), 4)


def test_declarations_are_equal_when_they_say_the_same_wherever_they_stand():
    one = Thing("a", size=2)
    other = Thing("a", size=2)
    assert one == other
    assert hash(one) == hash(other)
    assert one != Thing("a", size=3)


def test_a_declaration_is_frozen():
    with pytest.raises(FrozenInstanceError):
        Thing("a").name = "b"
