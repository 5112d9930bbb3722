"""Models of any MLflow flavour that Headrace did not package."""
