"""How a model does at work: predictions joined to labels once they are known, measured by window."""
