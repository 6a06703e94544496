"""What a session keeps of its frames: a bounded history of the current epoch, and recordings of every frame.

A `Feed` copies committed slots out of the ring, many at a time, and hands them to the history's `Store` and to every
`Recording`. What the ring has lost before it was copied is named, frame by frame, in `Missed`. Nothing here knows the
engine or the server, and nothing happens per frame or per signal in Python.
"""
