"""Helpers that need none of the other packages."""
