"""A file on the network, fetched: resumed where it broke off, and kept only if its checksum is right."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from deltamask.base.progress import Progress

BLOCK = 1 << 20
TIMEOUT = 30.0  # seconds without an answer


class FetchError(RuntimeError):
    """A file could not be fetched, or is not the one that was expected; the message says what to do."""


@dataclass(frozen=True)
class Remote:
    """A file on the network. size: bytes. One of md5 and sha256 says which file it has to be."""

    url: str
    size: int
    md5: str = ""
    sha256: str = ""

    @property
    def name(self) -> str:
        """Its file name."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def host(self) -> str:
        """Who sends it."""
        return urlsplit(self.url).netloc

    def locate(self) -> str:
        """Its address."""
        return self.url

    def __str__(self) -> str:
        return self.url


def fetch(file: Remote, path: Path, command: str, progress: Progress) -> None:
    """Bring `file` to `path`, whole and checked. What is there already of it is gone on from.

    command: what the reader of an error is told to run again. progress counts bytes. Raises FetchError.
    """
    try:
        _receive(file, path, progress)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        have = path.stat().st_size if path.exists() else 0
        reason = getattr(error, "reason", None) or error
        raise FetchError(
            f"{file}: {reason}; {have:,} of {file.size:,} bytes are here. Check the network, then run "
            f"`{command}` again: it goes on from there. Without a network, get the file elsewhere, "
            f"put it at {path} and run the same command: it is checked and unpacked"
        ) from error
    kind, expected = ("SHA-256", file.sha256) if file.sha256 else ("MD5", file.md5)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.new(kind.replace("-", ""), usedforsecurity=False))
    if digest.hexdigest() != expected:
        size = path.stat().st_size
        path.unlink()
        raise FetchError(
            f"{file}: wrong checksum ({kind} {digest.hexdigest()} of {size:,} bytes, expected {expected} of "
            f"{file.size:,}); what came has been deleted. Run `{command}` again; if it comes out the "
            "same, the file there has changed and must not be trusted"
        )


def _receive(file: Remote, path: Path, progress: Progress) -> None:
    """Append what is missing of `file` to `path`."""
    have = path.stat().st_size if path.exists() else 0
    if have >= file.size:
        return
    url = file.locate()
    request = urllib.request.Request(url, headers={"User-Agent": "deltamask", "Range": f"bytes={have}-"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0  # this server sends the whole file or nothing
        with path.open("r+b" if have else "wb") as stream:
            stream.seek(have)
            while have < file.size and (block := answer.read(BLOCK)):
                stream.write(block)
                have += len(block)
                progress(f"{file.name} from {urlsplit(url).netloc}", have, file.size)
    if have < file.size:
        raise ConnectionError("the connection ended early")
