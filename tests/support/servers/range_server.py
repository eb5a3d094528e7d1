"""An HTTP server of files that answers byte ranges."""

from __future__ import annotations

from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import ClassVar


class RangeHandler(SimpleHTTPRequestHandler):
    """Serves files with single byte ranges, which the standard handler does not."""

    refused: ClassVar[dict[str, int]] = {"/source/cat/7.png": 403, "/source/cat/8.png": 410}

    def do_GET(self) -> None:
        if self.path in self.refused and "closed" in self.headers.get("Authorization", ""):
            self.send_error(self.refused[self.path])
            return
        wanted = self.headers.get("Range")
        path = Path(self.translate_path(self.path))
        if wanted is None or not path.is_file():
            super().do_GET()
            return
        first, last = (int(part) for part in wanted.removeprefix("bytes=").split("-"))
        data = path.read_bytes()
        part = data[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(data)}")
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass
