"""Modules that ship with Hermes."""
