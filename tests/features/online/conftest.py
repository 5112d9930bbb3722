import shutil
import socket
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.redis import Redis

from headrace.core.ids import new_id
from headrace.features.online.opening import open_store
from headrace.features.online.wire import Wire
from headrace.features.online.wire import address as redis_address

STORES = {"sqlite": "", "redis": "unix"}  # kind → the scheme of its address in this suite
SECRET = "hush-hush"


@pytest.fixture(scope="session")
def redis_folder():
    """With a path that is short enough for a socket."""
    folder = tempfile.mkdtemp(prefix="hr")
    yield Path(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def redis(redis_folder):
    server = Redis(redis_folder).start()
    yield server
    server.stop()


@pytest.fixture(params=STORES)
def kind(request):
    return request.param


@pytest.fixture
def address(kind, request, tmp_path):
    """Of a store of each kind, where nothing was published yet."""
    if kind == "sqlite":
        return str(tmp_path / "made" / "online.db")
    return f"{request.getfixturevalue('redis').url}?prefix={new_id()}&timeout=5"


@pytest.fixture
def out_of_reach(kind, tmp_path):
    """The address of a store that cannot be read, with the word of SECRET where such an address has room for one."""
    if kind == "sqlite":
        (tmp_path / "spoiled.db").write_text("something else that is long enough to be looked at")
        return str(tmp_path / "spoiled.db")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        return f"redis://me:{SECRET}@127.0.0.1:{nobody.getsockname()[1]}/3?prefix=other"


@pytest.fixture
def traces(kind, address):
    """What there is of the store: files or keys."""

    def found():
        if kind == "sqlite":
            return sorted(Path(address).parent.parent.rglob("*"))
        to = redis_address(address)
        with closing(Wire(to, timeout=5)) as wire:
            return wire.call("KEYS", f"{to.prefix}:*")

    return found


@pytest.fixture
def opened(address, tmp_path):
    """Opens the same store as often as it is called, as so many processes would."""
    stores = []

    def open_store_again():
        stores.append(open_store(address, tmp_path))
        return stores[-1]

    yield open_store_again
    for store in stores:
        store.close()
