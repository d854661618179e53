"""What nothing uses any more after a change of a model: nodes that move constants, and these."""

from __future__ import annotations

from typing import Any

from cube24.graph.folding import FOLDABLE
from cube24.graph.protos import STANDARD, graphs_of


def sweep(graph: Any, upstream: set[str]) -> None:
    """Take out nodes and initializers that nothing uses any more, of a graph and those inside.

    Args:
        graph: the main graph.
        upstream: names of values; what makes others stays.
    """
    while True:
        used = _used(graph)
        if not _sweep_nodes(graph, upstream, used):
            break
    _sweep_initializers(graph, upstream, used)


def _used(graph: Any) -> set[str]:
    found = {given.name for given in graph.output}
    for node in graph.node:
        found |= set(node.input)
        for _, inner in graphs_of(node):
            found |= _used(inner)
    return found


def _sweep_nodes(graph: Any, upstream: set[str], used: set[str]) -> bool:
    removed = False
    kept = []
    for node in graph.node:
        for _, inner in graphs_of(node):
            removed |= _sweep_nodes(inner, upstream, used)
        served = all(name in upstream for name in node.output) and node.domain in STANDARD
        movable = node.op_type in FOLDABLE or node.op_type == "Constant"
        if served and movable and not used & set(node.output):
            removed = True
        else:
            kept.append(node)
    if len(kept) != len(graph.node):
        del graph.node[:]
        graph.node.extend(kept)
    return removed


def _sweep_initializers(graph: Any, upstream: set[str], used: set[str]) -> None:
    for node in graph.node:
        for _, inner in graphs_of(node):
            _sweep_initializers(inner, upstream, used)
    kept = [t for t in graph.initializer if t.name in used or t.name not in upstream]
    if len(kept) != len(graph.initializer):
        del graph.initializer[:]
        graph.initializer.extend(kept)
