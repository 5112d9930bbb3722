"""A vector index of 200,000 texts and 384 numbers: build, search with and without a 1 % filter, and an update of 1 % of the rows.

Headrace with both of its stores, LanceDB and Chroma used directly (--quick: Chroma only where its environment is there), and numpy, which compares with every vector: its
answers are the truth. LanceDB directly takes the least number of partitions at which recall@10 is 0.95, with the filter and without.
The vectors are drawn around centres; nothing is embedded, and no words are searched.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))
import harness

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

DIMENSION, K, QUESTIONS, WANTED = 384, 10, 50, 0.95
CONTESTANTS = ("numpy", "headrace exact", "headrace lancedb", "lancedb", "chroma")


def make(data: Path, count: int) -> None:
    """Vectors, questions that are none of them, and what 1 % of the rows become."""
    import numpy as np

    draw = np.random.default_rng(0)
    centres = draw.normal(size=(1_000, DIMENSION))

    def near(number: int) -> np.ndarray:
        made = centres[draw.integers(0, len(centres), number)] + draw.normal(size=(number, DIMENSION)) * 0.8
        return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)

    for name, number in (("rows", count), ("questions", QUESTIONS), ("changed", count // 100)):
        np.save(data / f"{name}.npy", near(number))


def load(data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    import numpy as np

    rows, questions, changed = (np.load(data / f"{name}.npy") for name in ("rows", "questions", "changed"))
    return rows, questions, changed


class Numpy:
    """Compares with every vector."""

    def __init__(self, _: Path, rows: np.ndarray) -> None:
        self.rows = rows.copy()

    def search(self, vector: np.ndarray, filtered: bool) -> list[int]:
        import numpy as np

        places = np.arange(0, len(self.rows), 100) if filtered else np.arange(len(self.rows))
        scores = (self.rows[::100] if filtered else self.rows) @ vector
        best = np.argpartition(scores, len(scores) - K)[-K:]
        return [int(row) for row in places[best]]

    def update(self, places: np.ndarray, vectors: np.ndarray) -> None:
        self.rows[places] = vectors


class Headrace:
    """A folder of a version, as `headrace run refresh` builds it."""

    store = "exact"

    def __init__(self, folder: Path, rows: np.ndarray) -> None:
        self.folder, self.rows, self.version = folder, rows.copy(), 0
        self.build([f"h{number}" for number in range(len(rows))])

    def build(self, hashes: list[str]) -> None:
        import numpy as np
        import pyarrow as pa

        from headrace.llm.index import rows as on_disk
        from headrace.llm.index import words
        from headrace.llm.index.opening import open_folder

        count = len(self.rows)
        former = (self.folder / str(self.version), self.index.rows) if self.version else None
        self.version += 1
        folder = self.folder / str(self.version)
        folder.mkdir()
        table = pa.table(
            {
                "key": pa.array([f"d{number:07}" for number in range(count)]),
                "chunk": pa.array(np.zeros(count, np.int32)),
                "text": pa.array([f"text {number}" for number in range(count)]),
                "content_hash": pa.array(hashes),
                "vector": pa.FixedSizeListArray.from_arrays(pa.array(self.rows.ravel()), DIMENSION),
                "group": pa.array(np.arange(count) % 100),
            }
        )
        made = on_disk.Rows(table)
        on_disk.write(folder, made)
        probes = 0
        if self.store == "lancedb":
            from headrace.llm.index.lance import build

            probes = build(folder, made, former)
        else:
            words.save(folder, words.build(table["text"].to_pylist()))
        described = on_disk.Description(
            name="features.i",
            table_id="t",
            version=self.version,
            dimension=DIMENSION,
            embedder="",
            hybrid=False,
            store=self.store,
            probes=probes,
        )
        on_disk.describe(folder, described)
        self.index = open_folder(folder)

    def search(self, vector: np.ndarray, filtered: bool) -> list[int]:
        return [int(hit.key[1:]) for hit in self.index.search(vector, K, {"group": 0} if filtered else None)]

    def update(self, places: np.ndarray, vectors: np.ndarray) -> None:
        self.rows[places] = vectors
        changed = set(places.tolist())
        self.build([f"h{number}{'+' if number in changed else ''}" for number in range(len(self.rows))])


class HeadraceLance(Headrace):
    store = "lancedb"


class Lance:
    """LanceDB by itself, with a scalar index for the filter."""

    def __init__(self, folder: Path, rows: np.ndarray) -> None:
        import lancedb
        import numpy as np
        from lancedb.index import IvfFlat

        self.count = len(rows)
        self.table = lancedb.connect(str(folder)).create_table("rows", self.data(np.arange(self.count), rows))
        partitions = int(self.count**0.5)
        self.table.create_index("vector", config=IvfFlat(distance_type="dot", num_partitions=partitions))
        self.table.create_scalar_index("group")
        truth, draw, self.probes = Numpy(folder, rows), np.random.default_rng(1), {False: 8, True: 8}
        asked = rows[draw.integers(0, self.count, 30)] + draw.normal(size=(30, DIMENSION)).astype(np.float32) * 0.02
        for filtered in self.probes:
            wanted = [set(truth.search(each, filtered)) for each in asked]
            while self.probes[filtered] < partitions:
                found = [set(self.search(each, filtered)) for each in asked]
                if sum(len(a & b) for a, b in zip(wanted, found, strict=True)) >= WANTED * K * len(asked):
                    break
                self.probes[filtered] *= 2

    def data(self, places: np.ndarray, vectors: np.ndarray) -> object:
        import pyarrow as pa

        lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIMENSION)
        return pa.table({"id": pa.array(places), "group": pa.array(places % 100), "vector": lists})

    def search(self, vector: np.ndarray, filtered: bool) -> list[int]:
        query = (
            self.table.search(vector)
            .distance_type("dot")
            .nprobes(self.probes[filtered])
            .limit(K)
            .select(["id", "_distance"])
        )
        return (query.where("group = 0", prefilter=True) if filtered else query).to_arrow()["id"].to_pylist()

    def update(self, places: np.ndarray, vectors: np.ndarray) -> None:
        merge = self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        merge.execute(self.data(places, vectors))
        self.table.optimize()


class Chroma:
    """Chroma by itself."""

    def __init__(self, folder: Path, rows: np.ndarray) -> None:
        import chromadb
        import numpy as np

        client = chromadb.PersistentClient(str(folder))
        self.rows = client.create_collection("rows", metadata={"hnsw:space": "ip"}, embedding_function=None)
        self.update(np.arange(len(rows)), rows)

    def update(self, places: np.ndarray, vectors: np.ndarray) -> None:
        for start in range(0, len(places), 5_000):
            part = slice(start, start + 5_000)
            ids = places[part].tolist()
            self.rows.upsert(
                ids=[str(each) for each in ids],
                embeddings=vectors[part],
                metadatas=[{"group": each % 100} for each in ids],
            )

    def search(self, vector: np.ndarray, filtered: bool) -> list[int]:
        where = {"group": 0} if filtered else None
        return [int(each) for each in self.rows.query(query_embeddings=vector, n_results=K, where=where)["ids"][0]]


KINDS = {
    "numpy": Numpy,
    "headrace exact": Headrace,
    "headrace lancedb": HeadraceLance,
    "lancedb": Lance,
    "chroma": Chroma,
}


def measured(kind: type, data: Path, folder: Path) -> dict[str, float]:
    """Seconds of the build and of the update, milliseconds of a search, and recall against numpy before and after."""
    import numpy as np

    rows, questions, changed = load(data)
    truth = Numpy(folder, rows)
    began = time.perf_counter()
    store = kind(folder, rows)
    found = {"build_s": time.perf_counter() - began}
    for filtered, name in ((False, ""), (True, "_1pct")):
        store.search(questions[0], filtered)
        spent, right = list[float](), 0
        for each in questions:
            began = time.perf_counter()
            rows_found = store.search(each, filtered)
            spent.append(time.perf_counter() - began)
            right += len(set(rows_found) & set(truth.search(each, filtered)))
        found |= {f"p50{name}_ms": statistics.median(spent) * 1000, f"recall{name}": right / K / len(questions)}
    places = np.sort(np.random.default_rng(2).permutation(len(rows))[: len(changed)])
    began = time.perf_counter()
    store.update(places, changed)
    found["update_s"] = time.perf_counter() - began
    truth.update(places, changed)
    right = sum(len(set(store.search(each, False)) & set(truth.search(each, False))) for each in questions)
    found["recall_after"] = right / K / len(questions)
    return found


def prepare(who: str) -> harness.Contestant:
    def ready(data: Path) -> Callable[[], object]:
        def do() -> object:
            folder = Path(tempfile.mkdtemp(dir=data))
            try:
                return measured(KINDS[who], data, folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

        return do

    return ready


def main() -> int:
    given = harness.arguments(__doc__).parse_args()
    if given.child:
        who, data = given.child
        if who == "data":
            make(Path(data), int(Path(data).name.removeprefix("index-")))
            return 0
        harness.be_contestant(prepare(who), Path(data), dict)  # type: ignore[arg-type]
        return 0
    rows, ratios, agreed = [], {}, True
    there = not given.quick or (harness.WORK / "peers" / "chroma" / "made").exists()
    pythons = {"chroma": harness.environment("chroma")} if there else {}
    names = [who for who in CONTESTANTS if who != "chroma" or there]
    runs = 1 if given.quick else given.runs
    for count in (20_000,) if given.quick else (20_000, 200_000):
        data = harness.WORK / f"index-{count}"
        harness.made(__file__, data)
        found = harness.compete(__file__, names, data, runs, pythons=pythons)
        middle = {
            who: {name: statistics.median(each.answer[name] for each in found[who]) for name in found[who][0].answer}
            for who in names
        }
        for who, figures in middle.items():
            rows.append({"who": who, "rows": count, **figures, "peak_mb": harness.median(found[who], "peak_rss_mb")})
            agreed &= min(figures["recall"], figures["recall_1pct"], figures["recall_after"]) >= WANTED or who in (
                "lancedb",
                "chroma",
            )
        ours = middle["headrace lancedb"]
        for figure in ("p50_ms", "p50_1pct_ms", "update_s"):
            ratios[f"{count:,} lancedb / headrace lancedb, {figure}"] = middle["lancedb"][figure] / ours[figure]
    return harness.tell("index", rows, ratios=ratios, agreed=agreed, runs=runs, as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())
