"""The latest row of each key of a feature table, where a request can reach it in microseconds.

`publish` fills a store from the lakehouse; `rows` reads it while a request waits, and imports nothing heavy. Not for
history: training and batch scoring join the tables themselves (`features.point_in_time`), and get the same values.
"""
