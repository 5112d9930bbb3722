"""State databases for tests: on SQLite and on PostgreSQL, each test with one of its own."""

from itertools import count

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

NUMBERS = count(1)
KEPT = "state.url"


def new_state(server, folder):
    """The URL of an empty state database: a file in the folder, or a schema of the server where there is one."""
    if server is None:
        return f"sqlite:///{folder}/state.db"
    name = f"state_{next(NUMBERS)}"
    engine = create_engine(server)
    with engine.begin() as connection:
        connection.execute(text(f"create schema {name}"))
    engine.dispose()
    options = {"options": f"-csearch_path={name}"}
    return make_url(server).update_query_dict(options).render_as_string(hide_password=False)


def keep_state(server, folder):
    """Makes one for a folder, so that other processes find it by that folder."""
    url = new_state(server, folder)
    (folder / KEPT).write_text(url)
    return url


def state_of(folder):
    """The URL of a folder's state database."""
    kept = folder / KEPT
    return kept.read_text() if kept.exists() else f"sqlite:///{folder}/state.db"
