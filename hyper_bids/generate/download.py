"""Download one file: resumed where it broke off, verified, put in place whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hyper_bids.errors import InconsistentInput, MissingFiles, OutputNotWritable, UsageError

BLOCK = 1 << 20
TRIES = 5
"""Attempts in a row that bring nothing before it is given up; one that brings something starts the count anew."""

WAIT = 1.0
"""Seconds before the second attempt; doubled each time."""

PASSING = (408, 425, 429, 500, 502, 503, 504)
"""HTTP errors that may pass by themselves."""

BROKEN = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)

ADVICE = {
    401: "It asks for a login: download the file in a browser.",
    404: "Look for the address of the file on its authors' page.",
}


@dataclass(frozen=True)
class Expected:
    """What is known of the file before it comes; empty or None where nothing is."""

    sha256: str = ""
    bytes: int | None = None


def download(
    url: str, path: Path, expected: Expected | None = None, *, timeout: float = 60.0, wait: float = WAIT,
    say: Callable[[str], None] | None = None,
) -> str:  # fmt: skip
    """Download ``url`` to ``path`` and return its SHA-256.

    What has come is kept beside ``path`` as ``<name>.part``; a later call goes on from there if the server still has
    the same file (its ETag or date says so, ``If-Range``). The file gets its name once it is complete and verified.

    Parameters
    ----------
    timeout : s without a byte
    wait : s before another attempt

    Raises
    ------
    UsageError
        No http or https address.
    MissingFiles
        The server refuses, or the connection broke down `TRIES` times.
    InconsistentInput
        What came is a web page, or has another size or checksum than expected.
    OutputNotWritable
        The folder cannot be written, or the disk is full.
    """
    expected, say = expected or Expected(), say or (lambda _: None)
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"{url} is no http or https address.")
    path = Path(path)
    part = Part(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _receive(url, part, expected, timeout, wait, say)
        sha256 = _verified(url, part, expected)
        os.replace(part.path, path)
        part.forget()
    except OSError as error:
        raise OutputNotWritable(f"Cannot write {path}: {error.strerror or error}.") from error
    return sha256


class Part:
    """What has come so far, and a note beside it of whose beginning that is."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}.part")
        self.note = path.with_name(f"{path.name}.part.json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def origin(self) -> dict[str, str]:
        try:
            return dict(json.loads(self.note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}

    def start(self, url: str, validator: str) -> None:
        self.note.write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")
        self.path.write_bytes(b"")

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def _receive(
    url: str, part: Part, expected: Expected, timeout: float, wait: float, say: Callable[[str], None]
) -> None:
    """Ask again, from where it broke off, until the file is complete."""
    left = TRIES
    while True:
        before, fault = part.size, None
        try:
            if _attempt(url, part, expected, timeout, say):
                return
            fault = "the connection ended early"
        except urllib.error.HTTPError as error:
            if error.code not in PASSING:
                says = f"{url}: the server says {error.code} {error.reason}."
                raise MissingFiles(f"{says} {ADVICE.get(error.code, ADVICE[404])}") from error
            fault = f"the server says {error.code} {error.reason}"
        except BROKEN as error:
            fault = str(getattr(error, "reason", "") or error or type(error).__name__)
        left = TRIES if part.size > before else left - 1
        if left == 0:
            raise MissingFiles(
                f"{url}: {fault}. {part.size} bytes are kept in {part.path.name}; the same command goes on from there."
            )
        say(f"{fault}; trying again at byte {part.size}")
        time.sleep(min(wait * 2 ** (TRIES - left), 60.0))


def _attempt(url: str, part: Part, expected: Expected, timeout: float, say: Callable[[str], None]) -> bool:
    """Receive as much as comes; return whether the file is complete."""
    origin, have = part.origin(), part.size
    request = urllib.request.Request(url, headers={"User-Agent": "hyper-tools", "Accept-Encoding": "identity"})
    validator = origin.get("validator")
    if have and origin.get("url") == url and (validator or expected.sha256):
        request.add_header("Range", f"bytes={have}-")
        if validator:
            request.add_header("If-Range", validator)
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        error.close()
        total = _total(error.headers.get("Content-Range"))
        if total == have:
            return True
        part.forget()  # what is here is longer than what is there
        return False
    with response:
        _refuse_pages(url, response)
        length = response.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
        if response.status == 206 and _first_byte(response.headers.get("Content-Range")) == have:
            rest = None if total is None else have + total
            total = _total(response.headers.get("Content-Range")) or rest
            say(f"going on at byte {have}")
        else:
            part.start(url, response.headers.get("ETag") or response.headers.get("Last-Modified") or "")
        if expected.bytes is not None and total is not None and total != expected.bytes:
            part.forget()
            raise InconsistentInput(f"{url} has {total} bytes, {expected.bytes} are expected: it is another file.")
        with part.path.open("ab") as file:
            while block := response.read(BLOCK):
                file.write(block)
    return total is None or part.size == total


def _refuse_pages(url: str, response: http.client.HTTPResponse) -> None:
    if response.headers.get_content_type() == "text/html":
        raise InconsistentInput(
            f"{url} is a web page, not the file. Use the address of the file itself; where the page asks to confirm "
            f"the download, do that in a browser."
        )


def _first_byte(content_range: str | None) -> int | None:
    span = (content_range or "").removeprefix("bytes ").partition("/")[0].partition("-")[0]
    return int(span) if span.isdigit() else None


def _total(content_range: str | None) -> int | None:
    total = (content_range or "").rpartition("/")[2]
    return int(total) if total.isdigit() else None


def _verified(url: str, part: Part, expected: Expected) -> str:
    """Return the SHA-256 of what came; what is not as expected is deleted."""
    size = part.size
    with part.path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if expected.bytes is not None and size != expected.bytes:
        fault = f"{size} bytes came, {expected.bytes} are expected"
    elif expected.sha256 and sha256 != expected.sha256.lower():
        fault = f"its SHA-256 is {sha256}, {expected.sha256} is expected"
    else:
        return sha256
    part.forget()
    raise InconsistentInput(f"{url}: {fault}. It is another file, or was altered on the way. Nothing was kept.")
