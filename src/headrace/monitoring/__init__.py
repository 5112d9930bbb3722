"""Monitors deployed models by window: predictions joined to known labels, profiles, drift, quality and alerts."""
