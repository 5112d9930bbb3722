"""The shipped example through the whole loop: a face that calls the operations that a user or a scheduler would call.

`replay` goes through the year; `project_folder` makes the project; `findings` says what came of it.
"""
