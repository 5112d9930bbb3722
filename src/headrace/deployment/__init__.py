"""How a model is put to work: what a user declares about scoring it (gates, serving, monitoring and retraining build on it)."""
