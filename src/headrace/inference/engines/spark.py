"""Scoring on Spark through Spark Connect: the package is sent with `mapInArrow`, and unpacked once in each process.

Rows travel as chunks of Arrow in a binary column, so that no type is translated and the chunks are the same as in
the other engines. The executors need Headrace, and the libraries of the model, in the same versions as here.
"""

from __future__ import annotations

import atexit
import io
import shutil
import socket
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pyarrow as pa

from headrace.core.errors import ConfigError, DataError, MissingExtraError
from headrace.core.system import let_spark_be_imported
from headrace.inference.engines.base import chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from headrace.scoring.version import LoadedVersion

AT_ONCE = 64  # chunks in one question to the server
PORT, PATIENCE = 15002, 10.0  # of Spark Connect, unless said; seconds
ANSWER = "chunk bigint, records binary"


class Spark:
    """See Engine.

    Args:
        url: of the Spark Connect server, `sc://host:15002`; never shown.

    Raises:
        MissingExtraError: the client is not installed.
        ConfigError: the server cannot be reached.
    """

    name = "Spark"

    def __init__(self, url: str) -> None:
        self._session = _session(url)

    def predict(self, version: LoadedVersion, rows: pa.Table) -> Iterator[pa.Table]:
        """See Engine."""
        assert version.folder is not None
        score = scorer(_packed(version.folder), version.model, version.number)
        given = chunks(rows)
        for start in range(0, len(given), AT_ONCE):
            some = pa.table(
                {
                    "chunk": pa.array(range(start, start + len(given[start : start + AT_ONCE])), pa.int64()),
                    "rows": pa.array([_to_bytes(each) for each in given[start : start + AT_ONCE]], pa.binary()),
                }
            )
            answered = self._ask(some, score)
            for records in answered.sort_by("chunk").column("records").to_pylist():
                yield _from_bytes(records)

    def close(self) -> None:
        """See Engine."""
        self._session.stop()

    def _ask(self, some: pa.Table, score: Callable[..., Any]) -> pa.Table:
        from pyspark.errors import PySparkException

        try:
            frame = self._session.createDataFrame(some).repartition(some.num_rows)
            answered = frame.mapInArrow(score, ANSWER).toArrow()
        except PySparkException as error:
            raise DataError(
                f"Spark could not score: {str(error).strip().splitlines()[-1]}",
                hint="Nothing of the partition was written; run again to go on.",
            ) from error
        if answered.num_rows != some.num_rows:
            raise DataError(f"Spark gave {answered.num_rows} chunks back for {some.num_rows}.")
        return answered


def scorer(package: bytes, model: str, number: int) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function for `mapInArrow`: chunks of full rows in, chunks of prediction records out."""

    def score(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from headrace.inference.engines.spark import answer

        for batch in batches:
            yield answer(batch, package, model, number)

    return score


def answer(batch: pa.RecordBatch, package: bytes, model: str, number: int) -> pa.RecordBatch:
    """On an executor: the records of some chunks."""
    from headrace.inference.records import predict
    from headrace.scoring.version import LoadedVersion

    version = LoadedVersion(model, number, _predictor(package))
    records = [_to_bytes(predict(version, _from_bytes(each))) for each in batch.column("rows").to_pylist()]
    return pa.record_batch({"chunk": batch.column("chunk"), "records": pa.array(records, pa.binary())})


@cache
def _predictor(package: bytes) -> Any:
    """The predictor of a package, unpacked and loaded once in this process."""
    from headrace.scoring.predictor import PackagePredictor

    folder = Path(tempfile.mkdtemp(prefix="headrace-package-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        archive.extractall(folder)  # made by this program
    return PackagePredictor(folder)


def _packed(folder: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, path.relative_to(folder).as_posix())
    return packed.getvalue()


def _to_bytes(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    return sink.getvalue().to_pybytes()


def _from_bytes(data: bytes) -> pa.Table:
    return pa.ipc.open_stream(data).read_all()


def _session(url: str) -> Any:
    let_spark_be_imported()
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql.connect.session import SparkSession
    except ImportError:
        raise MissingExtraError("pyspark", "spark", "Scoring on Spark") from None
    check_listens(url)
    try:
        session = SparkSession.builder.remote(url).create()
        session.range(1).collect()
    except PySparkException as error:
        said = str(error).strip().splitlines()
        raise _unusable(said[0] if said else type(error).__name__) from error
    return session


def check_listens(url: str) -> None:
    """Whether something listens where a Spark Connect server should; the client itself would try again for ten minutes.

    Raises:
        ConfigError: nothing does, or it is no URL.
    """
    try:
        where = urlsplit(url)
        host, port = where.hostname or "", where.port or PORT
    except ValueError:
        raise _unusable("what it is set to is not its URL") from None
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except OSError as error:
        raise _unusable(f"{host}:{port}: {error.strerror or error}") from None


def _unusable(reason: str) -> ConfigError:
    return ConfigError(
        f"the Spark Connect server cannot be used: {reason}.",
        hint='[env.…] spark = "sc://host:15002" says where it is.',
    )
