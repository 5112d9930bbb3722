import os
import subprocess

import pytest

from headrace.core.errors import ConfigError
from headrace.scaffold import check_free, write


def test_files_appear_together_and_programs_can_be_started(tmp_path):
    with write(tmp_path / "shop", {"a/b.txt": "łódź\n", "data/x.csv": b"\xff", "ci/run": "#!/bin/sh\nexit 7\n"}):
        assert not (tmp_path / "shop").exists()

    assert (tmp_path / "shop" / "a" / "b.txt").read_bytes() == "łódź\n".encode()
    assert (tmp_path / "shop" / "data" / "x.csv").read_bytes() == b"\xff"
    assert subprocess.run([tmp_path / "shop" / "ci" / "run"], check=False).returncode == 7
    assert [each.name for each in tmp_path.iterdir()] == ["shop"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_is_interrupted_leaves_nothing(tmp_path, error):
    with pytest.raises(error), write(tmp_path / "shop", {"a.txt": "a"}):
        raise error

    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled_and_another_one_is_left_alone(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with write(tmp_path / "empty", {"a.txt": "a"}):
        pass
    with pytest.raises(ConfigError, match=r"is not empty: it has 'mine.txt'"), write(tmp_path / "full", {"a.txt": "a"}):
        pass

    assert (tmp_path / "empty" / "a.txt").read_text() == "a"
    assert [each.name for each in (tmp_path / "full").iterdir()] == ["mine.txt"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["empty", "full"]


def test_what_comes_to_the_place_meanwhile_is_kept(tmp_path):
    def come():
        (tmp_path / "shop").mkdir()
        (tmp_path / "shop" / "theirs.txt").write_text("theirs")

    with pytest.raises(ConfigError, match="is not empty"), write(tmp_path / "shop", {"a.txt": "a"}):
        come()

    assert [each.name for each in (tmp_path / "shop").iterdir()] == ["theirs.txt"]
    assert [each.name for each in tmp_path.iterdir()] == ["shop"]


def test_a_file_or_a_link_is_no_place(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(ConfigError, match="is there and is no folder"):
            check_free(tmp_path / name)


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_makes_is_not(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    left, living = (tmp_path / f".shop.headrace-init-{process}" for process in (gone.pid, os.getppid()))
    other = tmp_path / f".shop2.headrace-init-{gone.pid}"
    for each in (left, living, other):
        each.mkdir()
        (each / "a.txt").touch()
    with write(tmp_path / "shop", {"a.txt": "a"}):
        pass

    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([living.name, other.name, "shop"])
