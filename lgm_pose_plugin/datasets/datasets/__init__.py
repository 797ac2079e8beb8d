"""Data set classes."""
