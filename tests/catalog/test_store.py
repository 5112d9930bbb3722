"""Documents in a folder and in an object store: written whole, read without following what others planted."""

import errno
import os
import shutil
import stat

import pytest
from tests.catalog.documents import document, table
from tests.support.s3 import KEY, SECRET

from headrace.catalog import store
from headrace.catalog.store import CatalogStore
from headrace.core.errors import HeadraceError, RefusedError, UnavailableError


@pytest.fixture(params=["folder", "s3"])
def catalog(request, tmp_path):
    if request.param == "folder":
        return CatalogStore(str(tmp_path / "catalog"), {})
    s3 = request.getfixturevalue("s3")
    bucket = f"catalog-{os.urandom(4).hex()}"
    s3.client.create_bucket(Bucket=bucket)
    options = {**s3.options, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    return CatalogStore(f"s3://{bucket}/all", options)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "catalog"


@pytest.fixture
def local(folder):
    return CatalogStore(str(folder), {})


def test_documents_are_written_read_replaced_and_removed(catalog):
    assert catalog.read_all() == ([], [])
    assert catalog.read("shop", "dev") is None
    catalog.write(document("shop", "prod"))
    catalog.write(document("shop", "dev"))
    catalog.write(document("bank", "dev"))
    catalog.write(document("shop", "dev", feature_tables=(table(),)))

    documents, skipped = catalog.read_all()
    assert [(each.project, each.environment) for each in documents] == [
        ("bank", "dev"),
        ("shop", "dev"),
        ("shop", "prod"),
    ]
    assert documents[1] == catalog.read("shop", "dev") == document("shop", "dev", feature_tables=(table(),))
    assert skipped == []

    catalog.remove("shop", "dev")
    assert catalog.read("shop", "dev") is None


def test_what_is_malformed_in_an_object_store_is_skipped_and_named(s3):
    s3.client.create_bucket(Bucket="hostile")
    options = {**s3.options, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    catalog = CatalogStore("s3://hostile", options)
    catalog.write(document())
    for key in ("shop/prod.json", "a b/dev.json", "shop/deep/dev.json", "dev.json", "shop/notes.txt"):
        s3.client.put_object(Bucket="hostile", Key=key, Body=b"{")

    documents, skipped = catalog.read_all()
    assert documents == [document()]
    assert sorted(each.document for each in skipped) == [
        "s3://hostile/a b/dev.json",
        "s3://hostile/shop/deep/dev.json",
        "s3://hostile/shop/prod.json",
    ]


def test_an_object_store_that_refuses_is_named_without_its_secret(s3):
    catalog = CatalogStore(
        "s3://nobody/all", {**s3.options, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": "w-r-0-n-g"}
    )
    with pytest.raises(UnavailableError, match="s3://nobody/all cannot be read") as refused:
        catalog.read_all()
    assert "w-r-0-n-g" not in str(refused.value)


def test_what_others_planted_is_neither_followed_nor_waited_for(local, folder, tmp_path):
    local.write(document())
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "dev.json").write_bytes(document("linked").encode())
    (folder / "linked").symlink_to(outside)
    (folder / "file").mkdir()
    (folder / "file" / "dev.json").symlink_to(outside / "dev.json")
    (folder / "pipe").mkdir()
    os.mkfifo(folder / "pipe" / "dev.json")
    (folder / "deep").mkdir()
    (folder / "deep" / "dev.json").mkdir()
    (folder / "..odd").mkdir()
    (folder / "o\x1bdd").mkdir()
    (folder / "o\x1bdd" / "dev.json").write_bytes(b"{}")
    (folder / "shop" / ".dev.json-1").write_bytes(b"half")

    documents, skipped = local.read_all()
    assert documents == [document()]
    assert {each.document.removeprefix(f"{folder}/"): each.reason.partition(":")[0] for each in skipped} == {
        "deep/dev.json": "it is not a file",
        "file/dev.json": "it cannot be read",
        "linked": "it is a link",
        "o\x1bdd/dev.json": "its name is not that of a project or an environment",
        "pipe/dev.json": "it is not a file",
    }


def test_a_link_is_not_listed_and_leaves_the_others_readable(local, folder, tmp_path):
    local.write(document())
    (folder / "loop").symlink_to(folder)
    (folder / "dangling").symlink_to(tmp_path / "nowhere")
    documents, skipped = local.read_all()
    assert documents == [document()]
    assert {each.document.removeprefix(f"{folder}/"): each.reason for each in skipped} == {
        "dangling": "it is a link",
        "loop": "it is a link",
    }


@pytest.fixture
def when_listed(monkeypatch):
    """Does something as soon as a folder is about to be listed; root may list any folder, so an error has to be raised."""

    def prepare(folder, act):
        for name in ("listdir", "scandir"):
            real = getattr(os, name)

            def watched(path=".", real=real):
                if not isinstance(path, int) and os.fspath(path) == str(folder):
                    act()
                return real(path)

            monkeypatch.setattr(os, name, watched)

    return prepare


def test_a_project_whose_folder_cannot_be_listed_is_skipped_and_the_others_are_found(local, folder, when_listed):
    for project in ("a", "closed", "z"):
        local.write(document(project))

    def refuse():
        raise PermissionError(errno.EACCES, "Permission denied", str(folder / "closed"))

    when_listed(folder / "closed", refuse)
    documents, skipped = local.read_all()
    assert [each.project for each in documents] == ["a", "z"]
    assert [(each.document, each.reason) for each in skipped] == [
        (str(folder / "closed"), "it cannot be listed: Permission denied")
    ]


def test_a_project_that_vanishes_while_the_catalog_is_listed_leaves_the_others(local, folder, when_listed):
    projects = [f"p{number}" for number in range(6)]
    for project in projects:
        local.write(document(project))
    gone = next(iter(folder.iterdir()))  # the first in the order of the folder: the others come after it

    when_listed(gone, lambda: shutil.rmtree(gone, ignore_errors=True))
    documents, skipped = local.read_all()
    assert [each.project for each in documents] == [each for each in projects if each != gone.name]
    assert skipped == []


def test_nothing_is_written_through_a_link(local, folder, tmp_path):
    (tmp_path / "outside").mkdir()
    folder.mkdir()
    (folder / "shop").symlink_to(tmp_path / "outside")
    with pytest.raises(RefusedError, match="is a link"):
        local.write(document())
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_document_is_as_readable_as_the_folder_that_was_named(local, folder):
    folder.mkdir()
    folder.chmod(0o775)
    before = os.umask(0o077)
    try:
        local.write(document())
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "shop").stat().st_mode) == 0o775
    assert stat.S_IMODE((folder / "shop" / "dev.json").stat().st_mode) == 0o664


def test_what_a_killed_process_left_is_taken_away_once_it_is_old(local, folder):
    local.write(document())
    old, young = folder / "shop" / ".dev.json-old", folder / "shop" / ".dev.json-young"
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    os.utime(old, (0, 0))
    local.write(document())
    assert sorted(each.name for each in (folder / "shop").iterdir()) == [".dev.json-young", "dev.json"]


def test_more_than_can_be_read_is_said(local, monkeypatch):
    for project in ("a", "b", "c"):
        local.write(document(project))
    monkeypatch.setattr(store, "DOCUMENTS", 1)
    documents, skipped = local.read_all()
    assert [each.project for each in documents] == ["a"]
    assert [each.reason for each in skipped] == [
        f"2 documents from here on exceed 1 documents or {store.TOTAL:,} bytes"
    ]


def test_a_folder_that_cannot_be_listed_is_an_error_of_its_own(tmp_path):
    (tmp_path / "catalog").write_text("a file")
    with pytest.raises(HeadraceError, match="cannot be read: Not a directory"):
        CatalogStore(str(tmp_path / "catalog"), {}).read_all()
