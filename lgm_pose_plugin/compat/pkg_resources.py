"""The names of pkg_resources that MMEngine and mim use.

setuptools 81 and newer have no pkg_resources.
"""
from importlib import metadata
from typing import List

from packaging.version import parse as parse_version

__all__ = [
    'Distribution', 'DistributionNotFound', 'get_distribution',
    'parse_version', 'working_set'
]

DistributionNotFound = metadata.PackageNotFoundError


class Distribution:
    """An installed distribution.

    Args:
        found (importlib.metadata.Distribution): The same.

    Attributes:
        project_name (str): Its name.
        version (str): Its version.
        location (str): The folder it is installed in.
    """

    def __init__(self, found: metadata.Distribution):
        self._found = found
        self.project_name = found.metadata['Name']
        self.version = found.version
        self.location = str(found.locate_file(''))

    def has_metadata(self, name: str) -> bool:
        """Tell whether it has a file of metadata.

        Args:
            name (str): Name of the file, e.g. ``top_level.txt``.

        Returns:
            bool: Whether it has.
        """
        return self._found.read_text(name) is not None

    def get_metadata(self, name: str) -> str:
        """Read a file of metadata.

        Args:
            name (str): Name of the file.

        Returns:
            str: Its text.

        Raises:
            FileNotFoundError: If there is no such file.
        """
        text = self._found.read_text(name)
        if text is None:
            raise FileNotFoundError(f'{self.project_name} has no {name}')
        return text


def get_distribution(name: str) -> Distribution:
    """Find an installed distribution.

    Args:
        name (str): Its name.

    Returns:
        Distribution: The distribution.

    Raises:
        DistributionNotFound: If it is not installed.
    """
    return Distribution(metadata.distribution(name))


# mim reloads this module when a package has been installed.
working_set: List[Distribution] = [
    Distribution(found) for found in metadata.distributions()
]
