"""Tables in Delta: one way to write (`commit`), one way to read (`scan`), and the refresh of declared tables.

Not for the meaning of rows: features, labels and predictions are tables like any other here. Nothing else in Headrace
opens a Delta table or a Parquet file of one. It does not import `tracking` and `jobs`; `features`, `training`,
`inference` and `monitoring` use it.

Writing:
    writes: the kinds of writes: `Append`, `Overwrite`, `Upsert`.
    commit: the commit protocol: each change exactly once.
    app_transactions, commit_info: what a version records about commits, in addition to its rows.
    attempt, retries: one attempt to write, and attempts again after a lost race.
    maintenance: restore, compact, vacuum.
    rows, widening, encoding: rows in the types of a table, wider types, the layout of files.

Reading:
    scan, snapshot, table_version, log: the rows of a version, and its entries in the Delta log.
    changes, difference: the change feed, and how two sets of rows differ.
    storage, files, lakehouse: places of tables; files outside of tables; all tables of an environment.

Sources:
    source: loads a source into its bronze table.
    file_patterns, parsed_file, schema_merge, file_load: declared files.
    function_load: the rows that a user's function yields.
    delimited, json_rows, json_text, reading, dialect, spelling, columns: the formats of files, and the types of values.

SQL of users:
    sql, sql_expression, sql_functions, sql_errors, syntax: the check of SQL before it runs, and its messages.
    identifiers: quoting of names and texts in SQL.
    adhoc, confinement, spill: ad hoc queries, and their limits.
    declarations, graph, materialize, expectations: declared tables, their order, their refresh, and their expectations.
    ieee, values: floats as IEEE 754 compares them, and values as DuckDB keeps them.
"""
