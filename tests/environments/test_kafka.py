"""The names of topics and consumer groups: as declared, and in a test never."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.environments.config import load
from headrace.environments.kafka import LONGEST, Cluster

NAMES = st.from_regex(re.compile(r"[A-Za-z0-9._-]{1,249}"), fullmatch=True)
IDS = st.from_regex(re.compile(r"[a-z0-9_]{1,12}"), fullmatch=True)


@given(declared=NAMES, test=IDS)
def test_a_name_of_a_test_is_a_topics_and_never_the_declared_one(declared, test):
    name = Cluster(name="main", properties={}, test=test).topic(declared).name
    assert name.startswith(f"headrace-test-{test}-")
    assert name != declared
    assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
    assert len(name) <= LONGEST


@given(declared=NAMES)
def test_outside_of_tests_a_name_is_the_declared_one(declared):
    assert Cluster(name="main", properties={}).topic(declared).name == declared


@given(names=st.lists(NAMES, unique=True, min_size=2, max_size=2), test=IDS)
def test_two_topics_of_a_test_are_two(names, test):
    cluster = Cluster(name="main", properties={}, test=test)
    assert cluster.topic(names[0]).name != cluster.topic(names[1]).name


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (".headrace/tests/k3jx91qa/stores", "headrace-test-k3jx91qa-rides"),
        (".headrace/tests/k3jx91qa", "headrace-test-k3jx91qa-rides"),
        (None, "rides"),
    ],
)
def test_a_temporary_environment_keeps_the_clusters_and_no_name(tmp_path, monkeypatch, place, name):
    (tmp_path / "headrace.toml").write_text(
        '[project]\nname = "x"\nmodule = "x"\n[env.dev]\n[env.dev.kafka.main]\nbootstrap.servers = "one:9092"\n'
    )
    monkeypatch.setenv("HEADRACE_ENV__dev__kafka__main__acks", "all")
    if place is not None:
        monkeypatch.setenv("HEADRACE_ENV__dev__temporary", str(tmp_path / place))
    cluster = load(tmp_path).environment("dev").cluster(None)
    assert cluster.properties == {"bootstrap.servers": "one:9092", "acks": "all"}
    assert (cluster.topic("rides").name, cluster.name_of("rides")) == (name, name)
