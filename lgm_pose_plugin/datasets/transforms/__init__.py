"""Transforms of the pipelines."""
