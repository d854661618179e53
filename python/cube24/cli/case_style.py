"""Options of commands that write cases: how the files are written."""

from __future__ import annotations

from typing import Any

import click

from cube24.cli.options import format_option, header_option, options, refuse, word_options
from cube24.vectors import SUFFIXES, CaseStyle


class _OfRole(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3 only
    """A role and a number, or a word that stands for one."""

    def __init__(self, name: str, word: str | None = None) -> None:
        self.name, self._word = name, word

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int | str]:
        if isinstance(value, tuple):
            return value
        role, _, text = value.partition("=")
        if text == self._word and role:
            return role, text
        if not role or not text.isdecimal() or not text.isascii() or len(text) > 9:
            self.fail(f"{value[:40]!r}: write {self.name}, such as dense=32", param, ctx)
        return role, int(text)


style_options = options(
    format_option(SUFFIXES, "Of the files; may be given again.  [npy, hex]", multiple=True),
    word_options(),
    header_option,
    click.option("--steps", is_flag=True, help="Also the images of the buffers around each Mmad."),
    click.option(
        "--role-words", multiple=True, type=_OfRole("ROLE=BYTES"),
        help="Bytes a word of one role, such as dense=32; may be given again.",
    ),
    click.option(
        "--row-stride", "row_strides", multiple=True, type=_OfRole("ROLE=BYTES|word", "word"),
        help="From one row of a role to the next; word: each begins one. May be given again.",
    ),
    click.option(
        "--bench", is_flag=True,
        help="Also what a bench loads without JSON: case.svh, plusargs.txt, memory.hex, ...",
    ),
    click.option(
        "--manifest", type=click.IntRange(1, 2),
        help="Version of the manifests.  [1; 2 where it has to be]",
    ),
)  # fmt: skip


def style_of(
    formats: tuple[str, ...],
    word_bytes: int,
    order: str,
    header: bool,
    steps: bool,
    role_words: tuple[tuple[str, int], ...],
    row_strides: tuple[tuple[str, int | str], ...],
    bench: bool,
    manifest: int | None,
    *,
    both_layouts: bool = False,
    least: int = 1,
) -> CaseStyle:
    """The style of the files; options of words are refused where there are none.

    Args:
        formats, word_bytes, order, header, steps, role_words, row_strides, bench, manifest: as the
            options say. both_layouts: of the weight. least: version of the manifest, where no
            option says it and none asks for more.

    Raises:
        UsageError, ArgumentError: options that contradict each other.
    """
    formats = formats or ("npy", "hex")
    if not set(formats) - {"npy", "bin"}:
        refuse(["word_bytes", "order", "role_words"], "npy and bin have no words")
    if formats == ("npy",):
        refuse(["row_strides"], "the rows of npy have nothing between them")
    if "hex" not in formats:
        refuse(["header"], "only hex has comments")
    if not steps and "step" in dict(role_words):
        raise click.UsageError("--role-words step=...: there are no steps without --steps.")
    if manifest is None:
        manifest = 2 if role_words or row_strides or both_layouts or bench else least
    return CaseStyle(
        formats, word_bytes, order, header, steps, role_words, row_strides, both_layouts,
        bench, manifest,
    )  # fmt: skip
