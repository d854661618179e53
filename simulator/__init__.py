"""The unit that reads the bytes.

``functional`` computes what the emitted dense and index bytes stand for, exactly and without
instructions or time; ``dense`` is the independent computation from the original weights that it is
compared with; ``demo`` runs both on a real network.
"""

from cube24.simulator import demo, dense, functional

__all__ = ["demo", "dense", "functional"]
