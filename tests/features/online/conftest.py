import pytest

from headrace.features.online.sqlite import SqliteStore

STORES = {"sqlite": lambda folder: SqliteStore(folder / "made" / "online.db")}


@pytest.fixture(params=STORES)
def opened(request, tmp_path):
    """Opens the same store as often as it is called, as so many processes would."""
    stores = []

    def open_store():
        stores.append(STORES[request.param](tmp_path))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()
