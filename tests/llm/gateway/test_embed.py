import numpy as np
import pytest

from headrace.core.errors import ConfigError, DeclarationError, MalformedAnswerError
from headrace.testing import faults
from headrace.testing.answers import hashed_embedding

from .conftest import route


def test_embeddings_come_in_batches_and_in_order(gateway, endpoint, ledger):
    texts = [f"text number {n}" for n in range(10)]
    vectors = gateway(route(endpoint, input_price=10**9)).embed(texts, route="small", batch_size=4, dimensions=32)

    assert (vectors.shape, vectors.dtype) == ((10, 32), np.float32)
    np.testing.assert_array_equal(vectors[7], hashed_embedding(texts[7], 32))
    assert [len(each.json["input"]) for each in endpoint.requests] == [4, 4, 2]
    assert [(each.input_tokens, each.cost_nano, each.attempts) for each in ledger.records] == [(30, 30_000, 3)]


def test_other_dimensions_are_an_error(gateway, endpoint):
    endpoint.set_faults([faults.dimension(7), None, faults.dimension(7)])
    one = gateway(route(endpoint))

    with pytest.raises(MalformedAnswerError, match="7 dimensions, not 32"):
        one.embed(["a"], route="small", dimensions=32)
    with pytest.raises(MalformedAnswerError, match="7 dimensions, not 32"):
        one.embed(["a", "b"], route="small", batch_size=1)


def test_embeddings_of_another_model_are_an_error(gateway, endpoint):
    endpoint.set_faults([faults.other_model()])

    with pytest.raises(MalformedAnswerError, match="those of another"):
        gateway(route(endpoint)).embed(["a"], route="small")


@pytest.mark.parametrize(
    "data",
    ["[]", '[{"embedding": []}]', '[{"embedding": ["a"]}]', '[{"embedding": [1], "index": 3}]', '[{"embedding": "?"}]'],
)
def test_what_is_no_embedding_is_malformed(gateway, endpoint, data):
    endpoint.set_faults(lambda _request: faults.status(200, body=f'{{"data": {data}}}'))

    with pytest.raises(MalformedAnswerError):
        gateway(route(endpoint)).embed(["a"], route="small")


@pytest.mark.parametrize("texts", [[], "text", [""], [3]])
def test_texts_that_are_none_are_refused(gateway, endpoint, texts):
    with pytest.raises(DeclarationError):
        gateway(route(endpoint)).embed(texts, route="small")
    assert endpoint.requests == []


def test_a_protocol_without_embeddings_says_so(gateway, endpoint, ledger):
    with pytest.raises(ConfigError, match="has no embeddings"):
        gateway(route(endpoint, protocol="anthropic")).embed(["a"], route="small")
    assert ledger.open == {}
