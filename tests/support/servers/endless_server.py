"""A web server whose answers never end."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class EndlessServer(http.server.ThreadingHTTPServer):
    """It counts the pieces of 64 KiB that it has sent."""

    daemon_threads = True
    sent = 0


class _Handler(http.server.BaseHTTPRequestHandler):
    """Sends chunks without a size, or claims a petabyte where the path says `sized`."""

    protocol_version = "HTTP/1.1"
    server: EndlessServer

    def do_GET(self) -> None:
        self.send_response(200)
        if "sized" in self.path:
            self.send_header("Content-Length", str(1 << 50))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
                self.server.sent += 1
        except OSError:
            self.close_connection = True

    do_HEAD = do_GET  # noqa: N815 - their names
    do_POST = do_GET  # noqa: N815

    def log_message(self, *what: object) -> None:
        """Say nothing."""


@contextmanager
def endless_server() -> Iterator[EndlessServer]:
    """Run a server that is left by its clients before it ends."""
    with EndlessServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
