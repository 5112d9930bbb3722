"""Which labelled decisions are held out to test: each kind has one file, with one contract (`base.py`).

Not for the division between fitting and calibrating (`training.split`), nor for tuning, which judges trials on the
latest fitting rows.
"""
