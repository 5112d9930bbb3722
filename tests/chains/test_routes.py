"""What answers depend on behind the routes, and what changed since."""

import pytest

from headrace.chains.routes import changes, identities, names
from headrace.core.errors import DeclarationError, NotFoundError
from headrace.environments.llm import LlmConfig, LlmRoute
from headrace.llm.gateway.declarations import Route
from headrace.llm.gateway.gateway import Gateway


def gateway(**routes):
    made = {
        name: LlmRoute(name=name, protocol="openai", url=url, model=model, fallback=fallback)
        for name, (url, model, fallback) in routes.items()
    }
    return Gateway(LlmConfig(routes=made))


HERE = "http://127.0.0.1:1/v1"


def test_fallbacks_answer_too():
    now = gateway(small=(HERE, "a", "large"), large=(HERE, "b", None), other=(HERE, "c", None))
    assert identities("m", ["small"], now) == {
        "large": {"protocol": "openai", "url": HERE, "model": "b"},
        "small": {"protocol": "openai", "url": HERE, "model": "a"},
    }
    assert names([Route("small", "large")]) == ("small", "large")
    assert identities("m", [], None) == {}


def test_routes_that_are_not_there():
    with pytest.raises(DeclarationError, match="no routes are configured here"):
        identities("m", ["small"], None)
    with pytest.raises(NotFoundError, match="smal"):
        identities("m", ["smal"], gateway(small=(HERE, "a", None)))


def test_every_change_is_told():
    then = identities("m", ["small"], gateway(small=(HERE, "a", None)))
    assert changes(then, gateway(small=(HERE, "a", None), other=(HERE, "z", None))) == []
    assert changes(then, None) == []
    assert changes(then, gateway(small=(HERE, "b", None))) == ["the model of route 'small' was 'a' and is 'b' now"]
    assert "url of route 'small'" in changes(then, gateway(small=("http://127.0.0.1:2/v1", "a", None)))[0]
    assert changes(then, gateway(large=(HERE, "b", None))) == ["route 'small' is not configured any more"]
    (told,) = changes(then, gateway(small=(HERE, "a", "large"), large=(HERE, "b", None)))
    assert told == "route 'large' is a new fallback: 'b'"


def test_a_password_in_an_address_is_in_no_record():
    found = identities("m", ["small"], gateway(small=("https://me:secret@example.com/v1", "a", None)))
    assert "secret" not in str(found)
