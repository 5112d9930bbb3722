"""Tuning: makes the texts of a prompt better on examples, within a budget of calls, and says by how much on held-out ones.

`tune` is the search, around GEPA; `paid_calls` remembers each call in a journal (`core.journal`), so that none is paid for twice;
`reflection` asks a language model for a better text. It knows neither prompts nor
endpoints: what a candidate scores, and whether it is one, are functions that are passed in.
"""
