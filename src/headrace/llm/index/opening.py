"""The folder of a version of an index: built once beside its place and renamed, or opened.

What is in the folder is derived from the table, and can be deleted at any time while nobody searches it.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.core.errors import DataError
from headrace.core.failpoints import reach
from headrace.core.ids import new_id
from headrace.core.locks import hold
from headrace.llm.index import in_use, words
from headrace.llm.index import rows as on_disk
from headrace.llm.index.exact import ExactStore
from headrace.llm.index.rows import Description, Rows
from headrace.llm.index.search import Index

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.lakehouse.lakehouse import Lakehouse
    from headrace.llm.index.base import Embeds, VectorStore
    from headrace.llm.index.declarations import VectorIndex

BUILDING = ".building-"


def open_index(
    lakehouse: Lakehouse,
    declaration: VectorIndex,
    version: int | None = None,
    *,
    cache: Path,
    embedder: Embeds | None = None,
) -> Index:
    """Opens a version of an index; builds its folder first where there is none.

    Several processes may do so at once: one builds, the others wait. What a process that died left behind is removed.

    Args:
        lakehouse: where the index is.
        declaration: of the index.
        version: of the index; defaults to None, the latest.
        cache: the folder of all indexes' versions.
        embedder: of questions that are texts; defaults to none.

    Raises:
        NotFoundError: there is no such index or version: it was not updated yet.
        DataError: its vectors are not as declared.
        RefusedError: the embedder is another one than that of the index.
        MissingExtraError: LanceDB is declared and not installed.
    """
    snapshot = lakehouse.snapshot(declaration.name, version)
    kind = declaration.kind(snapshot.rows())
    home = cache / declaration.name
    home.mkdir(parents=True, exist_ok=True)
    folder = home / f"{snapshot.data_version}-{snapshot.id}-{kind}-{declaration.content[:8]}"
    while (held := _held(folder)) is None:
        with hold(home / ".lock", wait=True):
            for left in home.glob(f"{BUILDING}*"):
                shutil.rmtree(left, ignore_errors=True)
            if not (folder / on_disk.DESCRIPTION).is_file():
                found, digest = on_disk.from_table(snapshot, declaration)
                begun = home / f"{BUILDING}{new_id()}"
                begun.mkdir()
                on_disk.write(begun, found)
                if kind == "exact":
                    words.save(begun, words.build(found.table["text"].to_pylist()))
                reach(f"index.rows_written:{declaration.name}")
                probes = _build_lance(begun, found, home, snapshot.id) if kind == "lancedb" else 0
                described = Description(
                    name=declaration.name,
                    table_id=snapshot.id,
                    version=snapshot.data_version,
                    dimension=declaration.embed.size,
                    embedder=digest,
                    hybrid=declaration.hybrid,
                    store=kind,
                    probes=probes,
                )
                on_disk.describe(begun, described)
                reach(f"index.built:{declaration.name}")
                shutil.rmtree(folder, ignore_errors=True)  # one without a description is not complete
                begun.rename(folder)
    return _opened(folder, held, embedder, hybrid=declaration.hybrid)


def open_folder(folder: Path, *, embedder: Embeds | None = None, hybrid: bool | None = None) -> Index:
    """Opens a folder that was built before.

    Args:
        folder: of the version.
        embedder: of questions that are texts; defaults to none.
        hybrid: whether a search ranks by words, too; the folder is the same for both. Defaults to what was declared when it was
            built.

    Raises:
        DataError: it holds no index.
        RefusedError: the embedder is another one than that of the index.
    """
    held = in_use.hold(folder)
    if held is None:
        raise DataError(f"{str(folder)!r} holds no index: there is no such folder.", hint="It is built again.")
    return _opened(folder, held, embedder, hybrid=hybrid)


def _held(folder: Path) -> int | None:
    """What keeps a complete folder from being deleted; None where there is none."""
    held = in_use.hold(folder)
    if held is not None and not (folder / on_disk.DESCRIPTION).is_file():
        os.close(held)
        return None
    return held


def _opened(folder: Path, held: int, embedder: Embeds | None, *, hybrid: bool | None) -> Index:
    """A folder as an index, which is in use for as long as its store is."""
    try:
        rows, description = on_disk.read(folder)
        if hybrid is not None:
            description = replace(description, hybrid=hybrid)
        store: VectorStore
        if description.store == "lancedb":
            from headrace.llm.index.lance import LanceStore

            store = LanceStore(folder, rows, description.probes)
        else:
            store = ExactStore(rows.table["text"], rows.vectors, folder)
    except BaseException:
        os.close(held)
        raise
    in_use.hold_for(store, held)
    return Index(rows, description, store, embedder)


def prune(declaration: VectorIndex, *, cache: Path, keep: int = 2) -> list[str]:
    """Deletes the folders of old versions of an index that nobody has open. They are built again when they are opened.

    Args:
        declaration: of the index.
        cache: the folder of all indexes' versions.
        keep: how many of the latest folders stay.

    Returns:
        The names of the folders that were deleted.
    """
    home = cache / declaration.name
    if not home.is_dir():
        return []
    with hold(home / ".lock", wait=True):
        folders = sorted(home.glob("[0-9]*"), key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
        deleted = [folder.name for folder in folders[keep:] if _deleted(folder)]
        for left in home.glob(f"{BUILDING}*"):
            shutil.rmtree(left, ignore_errors=True)
    return deleted


def _deleted(folder: Path) -> bool:
    """Deletes a folder, unless somebody has it open. It leaves its place in one step, so nobody opens half of it."""
    with in_use.free(folder) as free:
        if not free:
            return False
        gone = folder.parent / f"{BUILDING}{new_id()}"
        folder.rename(gone)
        reach(f"index.deleting:{folder.parent.name}")
    shutil.rmtree(gone, ignore_errors=True)
    return True


def _build_lance(begun: Path, rows: Rows, home: Path, table_id: str) -> int:
    from headrace.llm.index.lance import build

    return build(begun, rows, _former(home, table_id))


def _former(home: Path, table_id: str) -> tuple[Path, Rows] | None:
    """The folder of the version that was built last, with LanceDB, of the same table."""
    folders = sorted(home.glob(f"[0-9]*-{table_id}-lancedb-*"), key=lambda each: each.stat().st_mtime_ns, reverse=True)
    for folder in folders:
        try:
            return folder, on_disk.read(folder)[0]
        except DataError:
            continue
    return None
