"""The engine process: it owns every frame, starts and supervises the modules, and ends with its owner.

Nothing in here imports asyncio or a web library.
"""
