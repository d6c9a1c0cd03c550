"""A page of HTML as the tests read it."""

from __future__ import annotations

import json
import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

from plotly.offline import get_plotlyjs

VOID = {"meta", "img", "input", "br", "hr", "link"}


class Reader(HTMLParser):
    """Tags in balance, ids, addresses, and the text outside style and script."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.wrong: list[str] = []
        self.ids: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.stack.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids[value or ""] += 1
            if name in ("src", "href", "xlink:href"):
                self.addresses.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.stack):
            self.text += data


def read(page: str) -> Reader:
    """The page without the library that draws."""
    reader = Reader()
    reader.feed(page.replace(get_plotlyjs(), ""))
    reader.close()
    return reader


def drawn(page: str) -> list[list[list[Any]]]:
    """The panels of each figure: data and layout."""
    return [
        json.loads(part)
        for part in re.findall(r'<script type="application/json">(.*?)</script>', page)
    ]
