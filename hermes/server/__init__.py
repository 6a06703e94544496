"""The WebSocket server: `protocol` is the rules without I/O, `telemetry` the frames, `websocket` the thin shell."""
