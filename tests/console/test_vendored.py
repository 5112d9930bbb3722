"""What is not ours in the pages is what its authors published, with its licence beside it, and small."""

import gzip
import hashlib
import tomllib

from headrace.console.rendering import FOLDER

VENDOR = FOLDER / "static" / "vendor"
FIRST_PAGE = 60_000  # bytes on the wire


def test_each_file_is_as_its_authors_published_it():
    known = tomllib.loads((VENDOR / "vendored.toml").read_text())
    for name, each in known.items():
        assert hashlib.sha256((VENDOR / each["file"]).read_bytes()).hexdigest() == each["sha256"], name
        assert (VENDOR / f"{name}.LICENSE").read_text().strip()
    expected = {"vendored.toml"} | {f"{name}.LICENSE" for name in known} | {each["file"] for each in known.values()}
    assert {each.name for each in VENDOR.iterdir()} == expected


def test_all_that_a_first_page_loads_is_little():
    loaded = [*VENDOR.glob("*.js"), *(FOLDER / "static").glob("*.js"), *(FOLDER / "static").glob("*.css")]
    assert sum(len(gzip.compress(each.read_bytes(), 6)) for each in loaded) < FIRST_PAGE
