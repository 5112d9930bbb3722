"""Destinations of predictions and dead letters: `base` is the contract; each sink has one file."""
