"""Run a configuration in several ways and compare every frame bit for bit: ``hermes verify`` and `hermes.verify`.

The first run, as fast as possible, writes every frame to a temporary file. Every other run is compared with that file
while it goes on, so that what a module will not do a second time is seen when it happens, and no run is kept in memory.
What is compared, and how a difference is put into words, knows no process and no clock; `running` does.
"""
