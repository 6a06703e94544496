"""``python -m hermes`` is the command line."""

from hermes.cli import main

main(prog_name="hermes")
