"""The parts that all HTML pages share: the frame with its style, and tables.

A page needs nothing from elsewhere: no network, no script.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --faint: #8884; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #16181c; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .3rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .3rem; opacity: .8; }
th, td { padding: .15rem .8rem .15rem 0; text-align: right; border-bottom: 1px solid var(--faint); }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
svg { width: 100%; height: auto; display: block; } svg text { font-size: 12px; fill: var(--ink); }
svg .grid { stroke: var(--faint); } svg .roof { stroke: var(--ink); stroke-width: 1.5; }
.key span { display: inline-block; margin-right: 1.2rem; }
.key i { display: inline-block; width: .9em; height: .9em; margin-right: .35em;
  border: 1px solid var(--faint); vertical-align: -1px; }
@media print { body { max-width: none; } svg, table { break-inside: avoid; } }
"""


#: For tables of many columns: as wide as they need, and no cell on two lines.
_WIDE = "body { max-width: none; } th, td { white-space: nowrap; }\n"


def document(title: str, sections: Iterable[str], *, wide: bool = False) -> str:
    """A whole page.

    Args:
        title: as plain text.
        sections: as HTML.
        wide: whether it has tables of many columns, which the reader may have to scroll.
    """
    style = _STYLE + (_WIDE if wide else "")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(sections) + "\n</body>\n</html>\n"
    )


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, as HTML, of cells in plain text; what begins with a digit stands on the right."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>\n" for row in rows)
    return (
        f"<table>\n<caption>{escape(caption)}</caption>\n<thead><tr>{cells}</tr></thead>\n"
        f"<tbody>{body}</tbody>\n</table>"
    )


def _cell(text: str) -> str:
    kind = "" if text[:1].isdecimal() else ' class="text"'
    return f"<td{kind}>{escape(text)}</td>"
