"""A web server on 127.0.0.1 that plays mirrors: good ones, and every kind of bad one.

A mirror's address is ``http://127.0.0.1:<port>/<behaviour>/``; a behaviour is a method of
:class:`_Handler` whose name starts with ``play_``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Request(NamedTuple):
    """What was asked for."""

    behaviour: str
    file: str
    range: str | None


class Mirrors(ThreadingHTTPServer):
    """Serves ``files`` in every manner; ``requests`` holds what was asked for, in order."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.requests: list[Request] = []
        self.closing = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the play."""

    def base(self, behaviour: str) -> str:
        """The address of the mirror that behaves so."""
        return f"http://127.0.0.1:{self.server_port}/{behaviour}/"

    def ranges(self, behaviour: str) -> list[str | None]:
        """The Range header of every request to one mirror."""
        return [request.range for request in self.requests if request.behaviour == behaviour]


@contextmanager
def serve(files: dict[str, bytes]) -> Iterator[Mirrors]:
    """Run the server in a thread for as long as the block lasts."""
    mirrors = Mirrors(files)
    thread = threading.Thread(target=mirrors.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield mirrors
    finally:
        mirrors.closing.set()
        mirrors.shutdown()
        thread.join()
        mirrors.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Mirrors

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def do_GET(self) -> None:
        """Let the behaviour in the path answer."""
        _, behaviour, file = self.path.split("/", 2)
        wanted = self.headers.get("Range")
        self.server.requests.append(Request(behaviour, file, wanted))
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        getattr(self, f"play_{behaviour}")(self.server.files[file], start)

    def answer(self, status: int, body: bytes, **headers: object) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def play_good(self, content: bytes, start: int) -> None:
        """Resume where asked, as servers should."""
        if not start:
            self.answer(200, content, Content_Length=len(content))
            return
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.answer(206, content[start:], Content_Length=len(content) - start, Content_Range=span)

    def play_encoded(self, content: bytes, start: int) -> None:
        """Take a file that is compressed for an answer that is."""
        self.answer(200, content, Content_Length=len(content), Content_Encoding="gzip")

    def play_reticent(self, content: bytes, start: int) -> None:
        """Not say how long the file is."""
        self.answer(200, content)

    def play_forgetful(self, content: bytes, start: int) -> None:
        """Ignore the Range header."""
        self.answer(200, content, Content_Length=len(content))

    def play_misplacing(self, content: bytes, start: int) -> None:
        """Resume one byte too early."""
        if not start:
            self.play_good(content, 0)
            return
        span = f"bytes {start - 1}-{len(content) - 1}/{len(content)}"
        self.answer(206, content[start - 1 :], Content_Range=span)

    def play_stubborn(self, content: bytes, start: int) -> None:
        """Refuse to resume."""
        if start:
            self.answer(416, b"")
        else:
            self.play_good(content, 0)

    def play_corrupt(self, content: bytes, start: int) -> None:
        """Right length, one wrong bit in the last byte."""
        self.play_good(content[:-1] + bytes([content[-1] ^ 1]), start)

    def play_breaking(self, content: bytes, start: int) -> None:
        """Announce everything, and hang up after half of what is left."""
        half = content[start : start + max(1, (len(content) - start) // 2)]
        headers = {"Content_Length": len(content) - start}
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.answer(206 if start else 200, half, **headers)

    def play_breaking_at_once(self, content: bytes, start: int) -> None:
        """Announce everything and send nothing."""
        self.answer(200, b"", Content_Length=len(content))

    def play_forbidden(self, content: bytes, start: int) -> None:
        """What the first home of MNIST answered in 2024."""
        self.answer(403, b"<html>Forbidden</html>", Content_Type="text/html")

    def play_page(self, content: bytes, start: int) -> None:
        """An error page that calls itself a success."""
        page = b"<html>Please sign in</html>"
        self.answer(200, page, Content_Type="text/html", Content_Length=len(page))

    def play_short(self, content: bytes, start: int) -> None:
        """A shorter file, with no length announced."""
        self.answer(200, content[: len(content) // 2])

    def play_endless(self, content: bytes, start: int) -> None:
        """More than the file, with no length announced."""
        self.answer(200, content)
        for _ in range(200):  # 20 MB, lest a client that never stops should fill the disk
            self.wfile.write(bytes(100_000))

    def play_silent(self, content: bytes, start: int) -> None:
        """Accept the connection and say nothing."""
        self.server.closing.wait(30)

    def play_stalling(self, content: bytes, start: int) -> None:
        """Send one byte and stop."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:1])
        self.server.closing.wait(30)

    def play_trickling(self, content: bytes, start: int) -> None:
        """Send a byte every 20 ms: never silent, never done."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        for position in range(len(content)):
            self.wfile.write(content[position : position + 1])
            if self.server.closing.wait(0.02):
                return

    def play_babbling(self, content: bytes, start: int) -> None:
        """Not HTTP at all."""
        self.wfile.write(b"220 ready for mail\r\n")
