import shutil
import tempfile
from pathlib import Path

import pytest
from tests.support.redis import Redis

from headrace.core.ids import new_id
from headrace.features.online.opening import open_store


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


@pytest.fixture(params=["sqlite", "redis"])
def address(request, tmp_path):
    """Of a store of each kind, where nothing was published yet."""
    if request.param == "sqlite":
        return str(tmp_path / "made" / "online.db")
    return f"{request.getfixturevalue('redis').url}?prefix={new_id()}&timeout=5"


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
