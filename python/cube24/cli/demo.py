"""The command demo: the whole chain on a small network."""

from __future__ import annotations

from typing import Any

import click

from cube24 import simulator
from cube24.cli.codes import FAILED, GOOD
from cube24.cli.options import dims, layout_option


@click.command("demo", short_help="Run the whole chain on a small network.")
@layout_option
def demo(layout: Any) -> int:
    """Run the whole chain on a small network that reads handwritten digits.

    Each layer is encoded, computed from the emitted bytes alone and compared with the dense
    computation from the original weights. Exit code 1 if an output differs. For files of its layers
    see cube24 vectors generate --suite network.
    """
    result = simulator.demo.run(layout)
    for layer in result.layers:
        patterns = sum(1 for count in layer.report.patterns.values() if count)
        click.echo(
            f"{layer.name:<6} {dims(layer.shape):<11} {layer.report.groups:>5} groups, "
            f"{patterns:>2} patterns; {layer.bytes_before:>5} -> {layer.bytes_after:>5} bytes; "
            f"{layer.compared:>6} outputs compared, {layer.differences} differ{_padding(layer)}"
        )
    click.echo(
        f"accuracy: {result.correct} of {result.images} images "
        f"({100 * result.correct / result.images:.2f}%)"
    )
    return FAILED if result.differences else GOOD


def _padding(layer: simulator.demo.LayerResult) -> str:
    """Why the bytes of a layer are not 5/8 of its weight."""
    geometry = layer.sparse.geometry
    stored = geometry.n_stored * geometry.k_stored
    if stored == layer.weight.size:
        return ""
    return f" (padded from {layer.weight.size} to {stored} weights)"


COMMANDS = (demo,)
