"""The command line: options that are shared, and one file for each group of commands.

``main`` is the entry point of the command ``cube24``; ``run`` takes a command line and gives its
exit code. What the commands do is done by the packages below; nothing else imports this one.
"""

from cube24.cli.app import main, run

__all__ = ["main", "run"]
