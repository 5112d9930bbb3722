"""Where predictions go: a table of the lakehouse, a table of an SQL database, or files.

`base` is the contract, one file a destination, `opening` makes them from what is declared.
"""
