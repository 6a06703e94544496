"""A session in another process, as its client knows it: `session` is the rules without I/O, `link` the connection."""
