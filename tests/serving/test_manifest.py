"""What is wrong in `serving.json`, whatever it is, is said of the file: nothing of it reaches a header or a terminal."""

import json
from dataclasses import asdict

import pytest

from headrace.core.errors import DataError
from headrace.serving.declarations import Serve
from headrace.serving.manifest import SERVE, Manifest, Served, ServedSplit, read_manifest, read_serve, write_manifest

VERSION = Served(
    version=1,
    artifact_hash="a",
    logged_hash="l",
    copy_hash="c",
    folder="versions/1",
    promoted_at="2024-01-01T00:00:00Z",
)
SOUND = Manifest(
    model="late",
    versions=(VERSION,),
    split=ServedSplit(id="1", salt="s", by=("ride",)),
    serve=Serve(redact=("battery",)),
    online="sqlite:///../../online.db",
    spool="../../spool/late",
)
WRONG = [None, True, 5, "1\r\nset-cookie: a=b", "\x1b[2J", "x" * 5000, "a\0b", [], [None], {}, 1.5, "\ud800", 10**400]
NUMBERS = {
    "version",
    "weight",
    "max_rows",
    "max_body",
    "queue",
    "concurrency",
    "max_log",
    "sample",
    "format",
    "threads",
}
LISTS = {"by", "redact", "versions", "cors", "protocols"}
FLAGS = {"fsync", "access_log", "traces"}


def places():
    """Each field of each record, as the way to it."""
    for name, value in asdict(SOUND).items():
        yield (name,)
        if isinstance(value, dict):
            yield from ((name, inner) for inner in value)
    yield from (("versions", 0, inner) for inner in asdict(VERSION))


@pytest.mark.parametrize("place", list(places()), ids=str)
def test_whatever_stands_in_a_field_the_file_is_read_or_refused(tmp_path, place):
    file = tmp_path / "serving.json"
    for wrong in WRONG:
        stored = json.loads(json.dumps(asdict(SOUND)))
        inside = stored
        for step in place[:-1]:
            inside = inside[step]
        inside[place[-1]] = wrong
        file.write_text(json.dumps(stored))
        refusal = found = None
        try:
            found = read_manifest(file)
        except DataError as error:
            refusal = str(error)
        if refusal is not None:
            assert str(file) in refusal
            assert refusal.replace("\n", "").isprintable()
            continue
        for step in place:
            found = found[step] if isinstance(step, int) else getattr(found, step)
        if place[-1] in NUMBERS:
            assert isinstance(found, int | float)
            assert not isinstance(found, bool)
        elif place[-1] in FLAGS:
            assert isinstance(found, bool)
        elif place[-1] not in LISTS and place not in (("split",), ("serve",), ("feedback",)):
            assert isinstance(found, str)
            assert found.isprintable()


@pytest.mark.parametrize("wrong", ["1\r\nset-cookie: a=b", True, None, "1", 1.0])
def test_a_version_is_a_number(tmp_path, wrong):
    stored = asdict(SOUND)
    stored["versions"][0]["version"] = wrong
    (tmp_path / "serving.json").write_text(json.dumps(stored))
    with pytest.raises(DataError, match=r"'version' is .*, not int"):
        read_manifest(tmp_path / "serving.json")


@pytest.mark.parametrize("model", ["/etc", "..", "../other", ""])
def test_a_name_of_a_model_leads_nowhere(tmp_path, model):
    stored = {**asdict(SOUND), "model": model, "spool": f"../../spool/{model}"}
    (tmp_path / "serving.json").write_text(json.dumps(stored))
    with pytest.raises(DataError, match="is no name of a model"):
        read_manifest(tmp_path / "serving.json")


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"a":' * 200_000, "null", "\xff", '{"format": true}', '{"format": 1}', ""]
)
@pytest.mark.parametrize("read", [read_manifest, lambda file: read_serve(file.parent)], ids=["serving", "serve"])
def test_text_that_is_no_manifest_is_refused(tmp_path, text, read):
    for name in ("serving.json", SERVE):
        (tmp_path / name).write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "serving.json")


def test_what_is_sound_is_read_as_it_was_written(tmp_path):
    write_manifest(tmp_path / "serving.json", SOUND)
    assert read_manifest(tmp_path / "serving.json") == SOUND
