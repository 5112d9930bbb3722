"""Feedback of people on served answers: what a deployment takes, how a message is read, and the table that keeps it.

For every model, not only for language models. Servers take messages (`serving`), the ingestion of the log writes them into
the table (`inference`), and `monitoring` joins them with the answers.
"""
