"""The OpenAPI document is true: whatever is asked by it is answered as it says, and nothing else is answered."""

import json
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks
from tests.serving.conftest import serving

from headrace.serving.openapi import TOLD

MODELS = ("/v2/models/late", "/v2/models/late/versions/1")
OPEN = ("/health", "/ready", "/ping", "/v2/health/live", "/v2/health/ready")
POSTS = {"/invocations", "/predict", *(f"{path}/infer" for path in MODELS)}
ROUTES = {*TOLD, "/v2", *OPEN, *POSTS, *MODELS, *(f"{path}/ready" for path in MODELS)}
QUICKLY = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
CONFORMS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def schema(live):
    found = schemathesis.openapi.from_url(f"http://127.0.0.1:{live.port}/openapi.json")
    found.validate()
    return found


def test_every_route_is_in_it_and_every_path_of_it_is_a_route(live):
    paths = live.ask("/openapi.json")[1]["paths"]
    assert set(paths) == ROUTES
    for path, methods in paths.items():
        assert set(methods) == ({"post"} if path in POSTS else {"get"})
        right, wrong = ({}, None) if path in POSTS else (None, {})
        assert live.ask(path, right)[0] == (400 if path in POSTS else 200)
        status, _, headers = live.ask(path, wrong)
        assert status == 405
        assert headers["allow"].split(", ")[0].lower() in methods
    for path in (
        "/",
        "/docs",
        "/invocations/",
        "/v2/models",
        "/v2/models/other",
        "/v2/models/late/versions/2",
        "//health",
    ):
        assert live.ask(path)[0] == 404
        assert live.ask(path, {})[0] == 404


@pytest.mark.parametrize("path", sorted(ROUTES))
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_what_is_asked_is_answered_as_it_says(schema, path, mode):
    """Positive: by the document. Negative: one thing in it is otherwise, and that is refused."""
    operation = schema[path]["post" if path in POSTS else "get"]
    if mode is GenerationMode.NEGATIVE and path not in POSTS:
        return  # nothing of them can be otherwise
    seen = set()

    @given(case=operation.as_strategy(generation_mode=mode))
    @QUICKLY
    def ask(case):
        answer = case.call(timeout=20)
        seen.add(answer.status_code)
        case.validate_response(answer, checks=CONFORMS)
        assert answer.status_code in (200, 400)
        if mode is GenerationMode.POSITIVE and path == "/invocations" and "csv" not in str(case.media_type):
            # all that the document allows; that columns are as long as each other it cannot say
            assert answer.status_code == 200 or "different lengths" in answer.text, case.body
        if mode is GenerationMode.NEGATIVE and "csv" not in str(case.media_type):
            assert answer.status_code == 400, case.body

    ask()
    if mode is GenerationMode.POSITIVE and "infer" not in path and path != "/predict":  # they can be of wrong lengths
        assert 200 in seen


def test_tokens_are_in_it_where_they_are_needed(bikes, home, tmp_path, headrace):
    for name in ("headrace.toml", "bikes.py"):
        (tmp_path / name).write_text(Path(bikes / name).read_text())
    token = headrace.run(tmp_path, "api-key", "create", "x").stdout.strip()
    with serving(home, arguments=["--api-keys", tmp_path / ".headrace" / "dev" / "api-keys.json"]) as server:
        shown = {"authorization": f"Bearer {token}"}
        paths = server.ask("/openapi.json", headers=shown)[1]["paths"]
        for path, methods in paths.items():
            (operation,) = methods.values()
            status = server.ask(path, {} if path in POSTS else None)[0]
            assert (status == 401) == ("401" in operation["responses"]) == (operation.get("security") != []), path
    assert json.dumps(paths).count("401") == len(ROUTES) - len(OPEN)
