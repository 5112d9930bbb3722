"""Tables in Delta: one way to write (`commit`), one way to read (`scan`), and what keeps a table as its SELECT says.

Not for what a row means: features, labels and predictions are tables like any other here. Nothing else in Headrace opens
a Delta table or a Parquet file of one. Neighbours in the same row, which it does not know: `tracking` and `jobs`; above:
`features`, `training`, `inference`, `monitoring`.

Writing:
    writes: the kinds of writes: `Append`, `Overwrite`, `Upsert`.
    commit: the commit protocol: each change exactly once.
    app_transactions, commit_info: what a version records about commits, beside its rows.
    attempt, retries: one attempt to write, and attempts again after a lost race.
    maintenance: restore, compact, vacuum.
    rows, widening, encoding: rows in the types of a table, wider types, the layout of files.

Reading:
    scan, snapshot, table_version, log: the rows of a version, and what the log says of it.
    changes, difference: the change feed, and how two sets of rows differ.
    storage, files, lakehouse: where tables are; files outside of tables; all tables of an environment.

Sources:
    source: brings a bronze table up to date with its source.
    file_patterns, parsed_file, schema_merge, file_load: declared files.
    function_load: what a user's function yields.
    delimited, json_rows, json_text, reading, dialect, spelling, columns: the formats of files, and the types of values.

SQL of users:
    sql, sql_expression, sql_functions, sql_errors, syntax: the check before anything runs, and its messages.
    identifiers: names and texts as they are written into SQL.
    adhoc, confinement, spill: questions at the terminal, and what they may reach and use.
    declarations, graph, materialize, expectations: declared tables, their order, their refresh, and what must be true of rows.
    ieee, values: floats as IEEE 754 compares them, and values as DuckDB keeps them.
"""
