"""Version of the plugin, kept apart so that tools read it without torch."""

__version__ = '0.2.0'
