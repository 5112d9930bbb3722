"""Runs the shipped example through the whole loop, by the operations that a user or a scheduler would call.

`replay` goes through the year; `project_folder` creates the project; `findings` summarises the results.
"""
