"""Which gateway chains call through: that of the environment that their thread has open."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from headrace.chains import gateways


@pytest.fixture
def opened():
    """Opens the gateway of an environment, which its name stands for."""
    every = []

    def use(name):
        every.append(lambda: name)
        gateways.use(every[-1])
        return every[-1]

    yield use
    for each in every:
        gateways.forget(each)


def test_two_threads_with_an_environment_each_keep_apart(opened):
    met = Barrier(2, timeout=20)

    def work(name):
        met.wait()
        mine = opened(name)
        met.wait()  # both are open
        found = [gateways.current()]
        met.wait()
        if name == "dev":
            gateways.forget(mine)
        met.wait()
        if name == "prod":
            found.append(gateways.current())
        return found

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, ["dev", "prod"])) == [["dev"], ["prod", "prod"]]


def test_an_environment_inside_of_another_one_counts_until_it_is_closed(opened):
    opened("outer")
    inner = opened("inner")
    assert gateways.current() == "inner"
    gateways.forget(inner)
    assert gateways.current() == "outer"


def test_a_thread_that_has_opened_none_has_the_last_one(opened):
    opened("first")
    last = opened("last")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(gateways.current).result() == "last"
        pool.submit(gateways.forget, last).result()  # by another thread than the one that opened it
    assert gateways.current() == "first"


def test_a_file_of_routes_counts_from_when_the_variable_names_it(monkeypatch, tmp_path):
    assert gateways.current() is None
    for name in ("small", "large"):
        file = tmp_path / f"{name}.toml"
        file.write_text(f'[routes.{name}]\nprotocol = "openai"\nurl = "http://127.0.0.1:9/v1"\nmodel = "m"\n')
        monkeypatch.setenv(gateways.ROUTES, str(file))
        found = gateways.current()
        assert [*found.routes] == [name]
        assert gateways.current() is found
    monkeypatch.delenv(gateways.ROUTES)
    assert gateways.current() is None
