"""A report's page as a browser parses it, and hostile text for it."""

from __future__ import annotations

from html.parser import HTMLParser

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}</style></svg>"

VOID = {"meta", "img", "br", "line", "circle", "polyline"}


class Page(HTMLParser):
    """Collects what could do harm or needs the network, and checks that tags nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.findings: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag in {"script", "link", "iframe", "object", "base", "form"}:
            self.findings.append(f"<{tag}>")
        for name, value in attrs:
            if name.startswith("on") or name == "href":
                self.findings.append(f"{name}={value}")
            if name in {"src", "srcset"} and not (value or "").startswith("data:image/png;base64,"):
                self.findings.append(f"{name}={value}")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.findings.append(f"misplaced </{tag}>")

    def handle_data(self, data):
        self.text += data
