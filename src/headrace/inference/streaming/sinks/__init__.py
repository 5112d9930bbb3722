"""Where predictions and dead letters go: `base` is the contract, then one file a sink."""
