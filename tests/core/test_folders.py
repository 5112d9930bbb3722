"""One digest of every name and byte of a folder; links and the like are refused, and never followed."""

import os
import socket
from pathlib import Path

import pytest

from headrace.core.errors import DataError
from headrace.core.folders import copy_folder, folder_digest, is_inside


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "sealed"
    (made / "code").mkdir(parents=True)
    (made / "code" / "shop.py").write_text("x = 1\n")
    (made / "MLmodel").write_text("flavors: {}\n")
    return made


def link_folder(folder, outside):
    (folder / "code" / "lib").symlink_to(outside, target_is_directory=True)


def replace_folder(folder, outside):
    (folder / "code").rename(outside / "code")
    (folder / "code").symlink_to(outside / "code", target_is_directory=True)


def link_file(folder, outside):
    (folder / "code" / "extra.py").symlink_to(outside / "extra.py")


def left_out_link(folder, outside):
    (folder / "serve.json").symlink_to(outside / "serve.json")


def pipe(folder, outside):
    os.mkfifo(folder / "code" / "pipe")


def listener(folder, outside):
    here = Path.cwd()
    os.chdir(folder)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind("socket")
    finally:
        os.chdir(here)


def hard_link(folder, outside):
    (outside / "shop.py").hardlink_to(folder / "code" / "shop.py")


@pytest.mark.parametrize(
    "how",
    [link_folder, replace_folder, link_file, left_out_link, pipe, listener, hard_link],
    ids=lambda how: how.__name__,
)
def test_what_could_change_while_the_folder_does_not_is_refused(folder, tmp_path, how):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "extra.py").write_text("import os\n")
    (outside / "serve.json").write_text("{}")
    how(folder, outside)

    with pytest.raises(DataError):
        folder_digest(folder, without=("serve.json",))


def test_the_folder_itself_is_no_link(folder, tmp_path):
    (tmp_path / "other").symlink_to(folder, target_is_directory=True)
    with pytest.raises(DataError, match="is a link"):
        folder_digest(tmp_path / "other")


def test_two_names_of_one_file_inside_are_a_matter_of_the_folder(folder):
    (folder / "again.py").hardlink_to(folder / "code" / "shop.py")
    assert folder_digest(folder)


CHANGES = {
    "an empty folder": lambda folder: (folder / "empty").mkdir(),
    "compiled Python": lambda folder: (folder / "code" / "shop.pyc").write_bytes(b"\0"),
    "a folder of compiled Python": lambda folder: (folder / "code" / "__pycache__").mkdir(),
    "a hidden file": lambda folder: (folder / ".env").write_text(""),
    "a name of odd bytes": lambda folder: Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).touch(),
    "another case": lambda folder: (folder / "MLmodel").rename(folder / "mlmodel"),
    "a file for a folder": lambda folder: (folder / "code" / "shop.py").rename(folder / "code:shop.py"),
    "a file in a folder of a left out name": lambda folder: [
        (folder / "serve.json").mkdir(),
        (folder / "serve.json" / "x.py").write_text(""),
    ],
    "a left out name deeper": lambda folder: (folder / "code" / "serve.json").write_text("{}"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_name_counts(folder, change):
    before = folder_digest(folder, without=("serve.json",))
    CHANGES[change](folder)
    assert folder_digest(folder, without=("serve.json",)) != before


def test_a_copy_has_the_same_digest_and_follows_no_link(folder, tmp_path):
    copy_folder(folder, tmp_path / "copy")
    assert folder_digest(tmp_path / "copy") == folder_digest(folder)

    (tmp_path / "secret").write_text("s3cr3t")
    (folder / "linked").symlink_to(tmp_path / "secret")
    copy_folder(folder, tmp_path / "second")
    assert (tmp_path / "second" / "linked").is_symlink()


def test_a_copy_of_a_pipe_says_so(folder, tmp_path):
    os.mkfifo(folder / "pipe")
    with pytest.raises(DataError, match="cannot be copied"):
        copy_folder(folder, tmp_path / "copy")


@pytest.mark.parametrize("name", ["", "/etc", "..", "a/../b", "versions/../../x", "link/x", "a\0b"])
def test_a_name_that_leads_out(folder, tmp_path, name):
    (folder / "link").symlink_to(tmp_path, target_is_directory=True)
    assert not is_inside(folder, name)
    assert is_inside(folder, "code/shop.py")


def test_a_folder_that_is_left_out_counts_for_nothing_and_a_file_of_its_name_does(folder):
    before = folder_digest(folder, without=("beside/",))
    (folder / "beside" / "deep").mkdir(parents=True)
    (folder / "beside" / "deep" / "x.py").write_text("1")
    assert folder_digest(folder, without=("beside/",)) == before
    (folder / "beside" / "deep" / "link").symlink_to(folder / "MLmodel")
    with pytest.raises(DataError):
        folder_digest(folder, without=("beside/",))
    (folder / "beside").rename(folder.parent / "away")
    (folder / "beside").write_text("")
    assert folder_digest(folder, without=("beside/",)) != before
    (folder / "beside").unlink()
    (folder / "code" / "beside").mkdir()
    assert folder_digest(folder, without=("beside/",)) != before
