"""Saved queries and dashboards: SELECTs with parameters and charts, alone and on a grid, in the state database of an environment.

Not for answering one (`lakehouse.adhoc`), nor for drawing an answer (`console`): here is what is kept, and of two who
change the same at once, one is refused.

    records: a saved query, its parameters and their values, its chart.
    store: the audit entries of what is saved and deleted, and who was first.
    tables: in the state database.
    alert_rules: a rule on the answer of a query, and what an answer says of it.
    alert_store: the rules that are declared.
    dashboards: a dashboard and its tiles, and how two of them differ.
    dashboard_file: a dashboard as a file of TOML, read and written.
    dashboard_store: the tables of drafts of dashboards and of the stored answers of their tiles.
"""
