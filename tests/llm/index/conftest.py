"""Documents in a real lakehouse, and an embedder that counts what it embeds."""

from hashlib import sha256

import numpy as np
import pyarrow as pa
import pytest

import headrace as hr
from headrace.lakehouse.lakehouse import Lakehouse
from headrace.lakehouse.writes import Overwrite, Upsert

DIMENSION = 16
DOCS = hr.Table("silver.docs", key="id", sql="SELECT 1", change_feed=True)


class HashEmbedder:
    """A vector for each text that has nothing to do with its meaning, and is the same everywhere."""

    def __init__(self, dimension=DIMENSION, digest="hash"):
        self.dimension, self.digest, self.embedded = dimension, digest, []

    def embed(self, texts):
        self.embedded += texts
        made = [np.random.default_rng(list(sha256((self.digest + text).encode()).digest())) for text in texts]
        vectors = np.array([each.normal(size=self.dimension) for each in made]).reshape(-1, self.dimension)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def nothing(texts):
    raise AssertionError(texts)


def declared(table=DOCS, dimension=DIMENSION, **changes):
    options = {
        "text": "body",
        "keep": ["title"],
        "embed": hr.Embedding(function=nothing, dimension=dimension),
        **changes,
    }
    return hr.VectorIndex("features.docs_index", table=table, **options)


def documents(bodies, titles=None):
    """`{id: body}` as rows."""
    return pa.table(
        {
            "id": pa.array(list(bodies), pa.string()),
            "title": pa.array([(titles or {}).get(key, f"title {key}") for key in bodies], pa.string()),
            "body": pa.array(list(bodies.values()), pa.string()),
        }
    )


class Docs:
    """The table of documents."""

    feed = {"delta.enableChangeDataFeed": "true"}

    def __init__(self, lakehouse, feed=True):
        self.lakehouse, self.number, self.properties = lakehouse, 0, self.feed if feed else {}

    def _commit(self, change):
        self.number += 1
        return self.lakehouse.commit(DOCS.name, f"c{self.number}", lambda _: change, properties=self.properties)

    def write(self, bodies, titles=None):
        return self._commit(Overwrite(documents(bodies, titles)))

    def upsert(self, bodies, delete=(), titles=None):
        return self._commit(
            Upsert(documents(bodies, titles), ["id"], delete=pa.table({"id": pa.array(list(delete), pa.string())}))
        )


@pytest.fixture
def lakehouse(tmp_path):
    return Lakehouse("dev", str(tmp_path / "lakehouse"))


@pytest.fixture(params=[True, False], ids=["feed", "no feed"])
def docs(request, lakehouse):
    return Docs(lakehouse, request.param)


@pytest.fixture
def embedder():
    return HashEmbedder()
