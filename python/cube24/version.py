"""The version of the installed package, which stands in vectors."""

from importlib.metadata import version

__version__ = version("cube24")
