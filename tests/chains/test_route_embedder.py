"""Embeddings by a route: whose vectors they are, who pays for them, and what ends them."""

from contextlib import contextmanager
from threading import Thread

import numpy as np
import pyarrow as pa
import pytest

import headrace as hr
from headrace.chains import gateways
from headrace.chains.chain import Chain
from headrace.chains.declarations import check_predict
from headrace.chains.opening import embedder, open_chain, read, write
from headrace.core.errors import ConfigError, DataError, DeclarationError, LimitError, RefusedError
from headrace.core.state import State
from headrace.environments.llm import LlmConfig, LlmRoute
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.writes import Overwrite
from headrace.llm.gateway.budget_limits import Limits
from headrace.llm.gateway.budgets import Budgets
from headrace.llm.gateway.call_scope import CallScope, CancelledCallsError
from headrace.llm.gateway.gateway import Gateway
from headrace.llm.gateway.metering import Metering
from headrace.llm.gateway.usage import Usage
from headrace.llm.index.update import update
from headrace.testing import faults
from headrace.testing.llm_endpoint import Endpoint

DOCS = hr.Table("silver.docs", key="id", sql="SELECT 1")
INDEX = hr.VectorIndex("features.docs", table=DOCS, text="body", embed=hr.Embedding(route="vectors", dimension=32))
USES = [INDEX]


def answer(question, ctx):
    return ctx.search(INDEX, question, k=1)[0].text


@pytest.fixture(scope="module")
def endpoint():
    with Endpoint(model="first") as made:
        yield made


@pytest.fixture(autouse=True)
def _without_faults(endpoint):
    yield
    endpoint.set_faults(())


@contextmanager
def used(*routes, metering=None):
    """A gateway with these routes, as the one of the process."""
    config = LlmConfig(routes={each.name: each for each in routes})
    with Gateway(config) if metering is None else Gateway(config, metering=metering) as made:

        def opens():
            return made

        gateways.use(opens)
        try:
            yield made
        finally:
            gateways.forget(opens)


def route(endpoint, name="vectors", **more):
    options = {"protocol": "openai", "url": endpoint.url, "model": "first", "input_price": 10**9, **more}
    return LlmRoute(name=name, **options)


@pytest.fixture
def lakehouse(tmp_path):
    made = Lakehouse("dev", str(tmp_path / "lakehouse"))
    made.commit(DOCS.name, "c", lambda _: Overwrite(pa.table({"id": ["a", "b"], "body": ["rivers", "mountains"]})))
    return made


def updated(lakehouse, tmp_path):
    return update(lakehouse, INDEX, embedder(INDEX), id="u", cache=tmp_path / "vectors")


def opened(lakehouse, tmp_path):
    return open_chain("helper", answer, USES, lakehouse, cache=tmp_path / "indexes")


def test_another_model_behind_the_route_embeds_all_anew_and_is_refused_before(lakehouse, endpoint, tmp_path):
    with used(route(endpoint)):
        first = updated(lakehouse, tmp_path)
        chain = opened(lakehouse, tmp_path)
        (tmp_path / "package").mkdir()
        write(tmp_path / "package", chain)
        assert updated(lakehouse, tmp_path).embedded == 0
    with used(route(endpoint, model="second")):
        with pytest.raises(RefusedError, match="was embedded by another embedder"):
            opened(lakehouse, tmp_path)  # as training does, so that no package mixes vectors
        with pytest.raises(RefusedError, match="was embedded by another embedder"):
            read(tmp_path / "package", answer, USES)
        with pytest.raises(RefusedError, match="leads to 'openai:second', and the vectors were made by 'openai:first'"):
            chain.answer({"question": "rivers"}, None)
        second = updated(lakehouse, tmp_path)
        assert (second.embedded, second.rows, second.version > first.version) == (2, 2, True)
        assert opened(lakehouse, tmp_path).answer({"question": "rivers"}, None).text == "rivers"


def test_a_model_that_moves_to_another_address_keeps_its_vectors(lakehouse, endpoint, tmp_path):
    with used(route(endpoint)):
        updated(lakehouse, tmp_path)
    with Endpoint(model="first") as moved, used(route(moved)):
        assert updated(lakehouse, tmp_path).embedded == 0
        assert opened(lakehouse, tmp_path).answer({"question": "mountains"}, None).text == "mountains"


def test_a_fallback_to_another_model_is_refused(endpoint):
    with (
        used(route(endpoint, fallback="other"), route(endpoint, "other", model="second")),
        pytest.raises(ConfigError, match="its fallback 'other' with 'openai:second'"),
    ):
        embedder(INDEX)
    with used(route(endpoint, fallback="other"), route(endpoint, "other")):
        assert embedder(INDEX).embed(["a"]).shape == (1, 32)


def test_a_package_is_loaded_without_routes_and_searched_with_them(lakehouse, endpoint, tmp_path):
    with used(route(endpoint)):
        updated(lakehouse, tmp_path)
        (tmp_path / "package").mkdir()
        write(tmp_path / "package", opened(lakehouse, tmp_path))
    with pytest.raises(DeclarationError, match="none are configured here"):
        embedder(INDEX)
    chain = read(tmp_path / "package", answer, USES)
    with pytest.raises(DeclarationError, match="none are configured here"):
        chain.answer({"question": "rivers"}, None)
    with used(route(endpoint)):
        assert chain.answer({"question": "rivers"}, None).text == "rivers"


def test_a_search_is_booked_on_whoever_asks_and_counts_in_their_budget(lakehouse, endpoint, tmp_path):
    state = State(f"sqlite:///{tmp_path / 'state.db'}")
    limits = Limits(per_user=10**9, users={"poor": 0})
    with used(route(endpoint), metering=Metering(budgets=Budgets(state, limits), usage=Usage(state))) as gateway:
        updated(lakehouse, tmp_path)
        chain = opened(lakehouse, tmp_path)
        chain.answer({"question": "rivers"}, gateway, user="rich", version=3)
        before = len(endpoint.requests)
        with pytest.raises(LimitError, match="'poor'"):
            chain.answer({"question": "rivers"}, gateway, user="poor", version=3)
    assert len(endpoint.requests) == before
    rows = Usage(state).report(["user", "application", "version"])
    costs = {(row.by["user"], row.by["application"], row.by["version"]): row.cost_nano for row in rows}
    assert costs["rich", "helper", 3] > 0
    state.close()


def test_whoever_leaves_ends_the_call(lakehouse, endpoint, tmp_path):
    with used(route(endpoint, timeout=30.0)) as gateway:
        updated(lakehouse, tmp_path)
        chain = opened(lakehouse, tmp_path)
        endpoint.set_faults([faults.timeout()])
        before, scope, failed = len(endpoint.requests), CallScope(gateway), []

        def ask():
            try:
                chain.answer({"question": "rivers"}, scope)
            except CancelledCallsError as error:
                failed.append(error)

        asking = Thread(target=ask)
        asking.start()
        while len(endpoint.requests) == before:
            asking.join(0.01)
        scope.cancel()
        asking.join(20)
        assert not asking.is_alive()
    assert len(failed) == 1


def test_vectors_of_another_dimension_are_refused_when_documents_are_embedded_and_when_questions_are(
    lakehouse, endpoint, tmp_path
):
    with used(route(endpoint)):
        endpoint.set_faults([faults.dimension(7)])
        with pytest.raises(DataError, match="returned vectors of 7 numbers, and 32 are declared"):
            updated(lakehouse, tmp_path)
        assert not lakehouse.exists(INDEX.name)
        endpoint.set_faults(())
        updated(lakehouse, tmp_path)
        chain = opened(lakehouse, tmp_path)
        endpoint.set_faults([faults.dimension(7)])
        with pytest.raises(DataError, match="returned vectors of 7 numbers, and 32 are declared"):
            chain.answer({"question": "rivers"}, None)
        assert chain.answer({"question": "rivers"}, None).text == "rivers"


def test_other_embedders_are_used_as_they_are(lakehouse, tmp_path):
    index = hr.VectorIndex("features.docs", table=DOCS, text="body", embed=hr.Embedding(function=lengths, dimension=2))
    update(lakehouse, index, embedder(index), id="u", cache=tmp_path / "vectors")
    chain = open_chain("helper", answer, [index], lakehouse, cache=tmp_path / "indexes")
    assert isinstance(chain, Chain)
    assert chain.inputs == check_predict("model", answer)
    assert chain.answer({"question": "rivers"}, None, user="me").text == "rivers"


def lengths(texts):
    return np.array([[1, len(text)] for text in texts])
