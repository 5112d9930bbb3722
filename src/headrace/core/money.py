"""Money is a whole number of nano-dollars wherever it is counted."""

NANO_PER_DOLLAR = 10**9
