"""Sources of decisions: `base` is the contract; each source has one file."""
