"""DuckDB functions that a user's SQL may not call: of the clock, random numbers, the session and the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from headrace.lakehouse.syntax import Found

# Functions whose value depends on when or how often they are asked: a table defined by them is another one each time.
CHANCE = frozenset(
    """ago current_date current_localtime current_localtimestamp current_time current_timestamp gen_random_uuid
    get_current_time get_current_timestamp localtime localtimestamp now pg_conf_load_time pg_postmaster_start_time
    random setseed stats today transaction_timestamp uuid uuidv4 uuidv7 vector_type""".split()  # noqa: SIM905
)
# Functions that read or change the session, the process or the machine instead of the row. Never allowed.
SESSION = frozenset(
    """current_catalog current_connection_id current_database current_query current_query_id current_role current_schema
    current_schemas current_setting current_transaction_id current_user currval get_block_size getenv getvariable in_search_path
    inet_client_addr inet_client_port inet_server_addr inet_server_port json_serialize_plan nextval pg_get_constraintdef
    pg_get_viewdef pg_my_temp_schema pg_sleep query query_table
    session_user setval sleep_ms txid_current user version write_log""".split()  # noqa: SIM905
)
# Functions of two moments: of one moment, they measure from the present.
FROM_NOW = frozenset({"age"})
# Words that DuckDB evaluates without parentheses, in quotes too, unless a column is called so: with its table, it is one.
BARE = frozenset(
    """current_catalog current_date current_role current_schema current_time current_timestamp current_user localtime
    localtimestamp session_user user""".split()  # noqa: SIM905
)
TABLE_FUNCTIONS = frozenset({"generate_series", "range", "unnest"})


def is_among(element: Found, names: frozenset[str], columns: Collection[str] = ()) -> bool:
    """Whether an element of a statement is one of these functions, or measures a moment from the present.

    Args:
        element: the element.
        names: `CHANCE`, `SESSION`, or both.
        columns: the columns of the row, in small letters: a bare word that is one of them is no function. Defaults to none.
    """
    if element.what == "word":
        return element.name in BARE & names and element.name not in columns
    if element.name in FROM_NOW and names & CHANCE:
        return len(element.node.get("arguments", ())) < 2
    return element.name in names
