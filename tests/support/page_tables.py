"""What a page of HTML says: its tables cell by cell, its texts, names that are linked to; a page that is not well formed is refused."""

from __future__ import annotations

import json
from html.parser import HTMLParser

EMPTY = {"meta", "link", "img", "input", "br"}


class HtmlPage(HTMLParser):
    """A page, read."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.tables, self.words, self.data = [], {}, [], []
        self._open, self._table, self._row, self._cell, self._caption = [], None, None, None, None
        self.feed(html)
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, name, attributes):
        self.tags.append((name, dict(attributes)))
        if name not in EMPTY:
            self._open.append(name)
        if name == "table":
            self._table = []
        elif name == "caption":
            self._caption = ""
        elif name == "tr":
            self._row = []
        elif name in ("td", "th"):
            self._cell = ""

    def handle_endtag(self, name):
        assert self._open.pop() == name, name
        if name in ("td", "th"):
            self._row.append(self._cell)
            self._cell = None
        elif name == "tr":
            self._table.append(self._row)
        elif name == "table":
            self.tables[self._caption] = self._table

    def handle_data(self, data):
        if self._open and self._open[-1] == "script":
            self.data.append(data)
        elif self._open and self._open[-1] != "style":
            self.words.append(data)
            if self._open[-1] == "caption":
                self._caption += data
            if self._cell is not None:
                self._cell += data

    @property
    def text(self):
        """Return all that is read by people."""
        return " ".join(" ".join(self.words).split())

    def table(self, beginning):
        """Return the rows of the table whose caption begins so, its header first."""
        return next(rows for caption, rows in self.tables.items() if caption.startswith(beginning))

    def attributes(self, name):
        """Return the attributes of all tags of a name."""
        return [attributes for tag, attributes in self.tags if tag == name]

    def packed(self):
        """Return the columns of the page's first paged table, by name, as values."""
        data = json.loads(next(one for one in self.data if one.startswith('{"noun"')))
        return {
            column["name"]: [column["words"][value] for value in column["values"]]
            if "words" in column
            else column["values"]
            for column in data["columns"]
        }

    def expect_whole(self):
        """Nothing is loaded from elsewhere, what is linked to is there, names are distinct, pictures and tables have names."""
        ids = [attributes["id"] for _, attributes in self.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        for name, attributes in self.tags:
            for key in ("src", "href"):
                target = attributes.get(key, "#content")
                assert target.startswith(("data:", "#")), target
                assert not target.startswith("#") or target[1:] in ids, target
            if name == "img":
                assert attributes["alt"]
            if name == "svg":
                assert attributes.get("role") == "img" or attributes["aria-hidden"] == "true"
        assert all(self.tables) or not self.tables
        assert "default-src 'none'" in next(
            attributes["content"]
            for attributes in self.attributes("meta")
            if attributes.get("http-equiv") == "Content-Security-Policy"
        )
