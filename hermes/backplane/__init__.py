"""The shared memory that every process of a session maps: signals, layout, history ring, go and done.

Nothing in here imports asyncio, starts a process or knows a socket address. `docs/backplane.md` fixes the bytes.
"""
