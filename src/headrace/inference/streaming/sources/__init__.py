"""Where decisions come from: `base` is the contract, then one file a source."""
