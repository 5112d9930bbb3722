"""Models of any MLflow flavour, which Headrace did not package."""
