"""``python -m cube24.cli`` is the command ``cube24``."""

from cube24.cli import main

if __name__ == "__main__":
    main()
