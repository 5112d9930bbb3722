"""Which labelled decisions are held out to test: one kind a file, by one contract (`base.py`).

Not for how the rest is divided between fitting and calibrating (`training.split`), nor for tuning, which judges trials on the
latest rows to fit on.
"""
