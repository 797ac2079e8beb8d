"""The base class of the data sets."""
