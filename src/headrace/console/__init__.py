"""The console: what needs a person, and every model, run and table, in a browser; embedded, with no script and no request to elsewhere."""
