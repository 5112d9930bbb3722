"""The model behind the route of an index changes: nothing is answered or packaged from a mixture of vectors."""

import json

from tests.support import assistant
from tests.support.assistant import ok, refused

SETTINGS = """
[env.dev.llm.routes.vectors]
protocol = "openai"
url = "{url}"
model = "{model}"
"""
INDEX = "features.docs_index"
PROJECT = assistant.PROJECT.replace(
    "hr.Embedding(function=embed, dimension=64)", 'hr.Embedding(route="vectors", dimension=32)'
)


def leads_to(folder, endpoint, model):
    assistant.settings(folder, endpoint.url, more=SETTINGS.format(url=endpoint.url, model=model))


def refresh(headrace, folder):
    """What the step of the index did."""
    done = json.loads(ok(headrace, folder, "run", "refresh", "--index", INDEX, "--json").stdout)
    return done["steps"][0]["output"]


def test_a_refresh_embeds_all_anew_and_until_then_training_is_refused(headrace, tmp_path):
    with assistant.endpoint() as endpoint:
        folder = assistant.write(tmp_path / "mini", endpoint.url, project=PROJECT)
        leads_to(folder, endpoint, "first")
        ok(headrace, folder, "run", "refresh")
        leads_to(folder, endpoint, "second")
        said = refused(headrace, folder, "run", "train", "--as-of", "2030-01-01")
        assert f"{INDEX} was embedded by another embedder" in said
        assert "headrace run refresh updates the index" in said
        assert refresh(headrace, folder)["embedded"] == len(assistant.DOCS)
        assert refresh(headrace, folder)["embedded"] == 0
        ok(headrace, folder, "run", "train", "--as-of", "2030-01-01")
