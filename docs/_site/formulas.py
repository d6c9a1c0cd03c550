"""Docstrings for Sphinx: what stands between single backticks is a formula or a name, the rest plain words.

`π_t(a|x)` becomes italics with a subscript, `objective.E_D` stays code, and no star, bar or underscore of the
prose is taken for markup.
"""

from __future__ import annotations

import html
import re
from typing import Any

from docutils import nodes
from docutils.parsers.rst import roles

NAME = re.compile(
    r"[A-Za-z_][\w.]*(\(.*\))?|[\w./{}<>*-]+\.\w+|--?[\w-]+|\"[^\"]*\"|[\w.]+=[\w.\"\[\]]+"
)
SUB = re.compile(r"_\{?(\w+|π\*|\*)\}?")
SUP = re.compile(r"\^(\([^)]*\)|\{[^}]*\}|[\w−⁻+*/]+)")
SPAN = re.compile(r"(``.+?``|:\w+(?::\w+)?:`[^`]+`|`[^`]+`(?:_+)?)", re.DOTALL)
LETTER = re.compile(r"[A-Za-z](_\w{1,3})?")
SHAPE = re.compile(r"\(([A-Z]\w*′?|\.\.\.|\d+)(, ?(\w+′?|\.\.\.))*,?\)")
GREEK = re.compile(r"[\u0370-\u03ff\u2100-\u22ff𝓡²³⁺⁻₀-₉√≤≥·]")


def is_formula(text: str) -> bool:
    """Whether a span is mathematics: Greek, signs, a bare letter, or a shape such as `(S, X, A)`."""
    if GREEK.search(text):
        return True
    if re.fullmatch(r"[A-Za-z](_\w{1,3})?", text) or re.fullmatch(
        r"\(([A-Z]\w*′?|\.\.\.|\d+)(, ?(\w+′?|\.\.\.))*,?\)", text
    ):
        return True
    return not NAME.fullmatch(text) and bool(re.search(r"[_^=|+]", text)) and "(" in text


def formula_html(text: str) -> str:
    """A formula as HTML: letters in italics, `_x` lowered, `^x` raised."""
    shown = html.escape(text, quote=False)
    shown = SUP.sub(lambda m: f"<sup>{m[1].strip('{}')}</sup>", shown)
    shown = SUB.sub(lambda m: f"<sub>{m[1]}</sub>", shown)
    return f'<span class="formula">{shown}</span>'


def role(name: str, raw: str, text: str, *_: Any, **__: Any) -> Any:
    """The default role of a docstring."""
    plain = text.replace("\x00", "\\")
    if is_formula(plain):
        return [nodes.raw("", formula_html(plain), format="html")], []
    return [nodes.literal(plain, plain)], []


def plain_words(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Escape what reStructuredText would read as markup outside spans; formulas set apart stay."""
    text = "\n".join(lines)
    text = re.sub(r"(?m)^(\S.*[^:.\s])$\n\n(?= {4}\S)", r"\1\n\n::\n\n", text)
    parts = SPAN.split(text)
    for i, part in enumerate(parts):
        if i % 2 == 0:
            parts[i] = re.sub(r"(?<![\s:.])_(?=\W|$)|[*|]", lambda m: "\\" + m[0], part)
        elif part.startswith("`") and not part.startswith("``"):
            parts[i] = part.replace("\\", "\\\\")
    lines[:] = "".join(parts).split("\n")


def setup(app: Any) -> dict[str, bool]:
    """Register the role and the hook (before napoleon reads sections)."""
    roles.register_local_role("formula", role)
    app.config.default_role = "formula"
    app.connect("autodoc-process-docstring", plain_words, priority=900)
    return {"parallel_read_safe": True}
