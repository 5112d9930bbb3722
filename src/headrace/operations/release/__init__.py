"""Releases: what speaks for them, how one is cut, fetched and bundled, what it would change, and bringing an environment to it."""
