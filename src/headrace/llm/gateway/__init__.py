"""The gateway: one place through which all calls to language models go, with prices, budgets, usage and a cache.

`Gateway` sends a request over a named route and does what surrounds it: deadline, retries, fallback, circuit breaker,
limits, streaming. What is shared by workers and hosts (budgets, usage, cached answers) is in the state database: `tables`;
the gateway calls it through the protocols of `metering`. Money is a whole number of nano-dollars everywhere: `prices`.
"""
