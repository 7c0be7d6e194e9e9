"""Files of the Python package index that pip is set up with (PEP 503). Nothing is installed, and none of a package's
code is run: not even what `pip download` runs of a source distribution to learn its name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag, urljoin, urlsplit, urlunsplit

from deltamask.base.remote import TIMEOUT, FetchError, Remote

PYPI = "https://pypi.org/simple"
PAGE = 16 << 20  # bytes of a project's page that are read: PyPI's longest are some megabytes
SHOWN = 4  # files that an error names


@dataclass(frozen=True)
class Packaged(Remote):
    """A file of a project on the index. url: only its name; where it lies is asked for when it is fetched."""

    project: str = ""

    @property
    def host(self) -> str:
        """Who sends it, as far as is known before pip is asked."""
        return "pip's package index"

    def __str__(self) -> str:
        return f"{self.name} of {self.project} on pip's package index"

    def locate(self) -> str:
        """Its address, from the project's page. FetchError where the index has no such file, or another one."""
        page = f"{index_url().rstrip('/')}/{re.sub('[-_.]+', '-', self.project).lower()}/"
        at = page + "index.html" if page.startswith("file:") else page
        request = urllib.request.Request(at, headers={"User-Agent": "deltamask"})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            links = _Links(answer.read(PAGE).decode("utf-8", "replace"))
        found = {unquote(urlsplit(link).path.rsplit("/", 1)[-1]): link for link in links.found}
        if self.name not in found:
            others = sorted(found)
            listed = ", ".join(others[:SHOWN]) + (f" and {len(others) - SHOWN} more" if len(others) > SHOWN else "")
            raise FetchError(f"{page} has no {self.name}, only {listed or 'no file'}: another version will not do")
        address, told = urldefrag(urljoin(at, found[self.name]))
        if told.startswith("sha256=") and told.removeprefix("sha256=") != self.sha256:
            raise FetchError(f"{page} has another {self.name} ({told}, expected {self.sha256}): it must not be trusted")
        if urlsplit(address).scheme not in ("https", "http", urlsplit(page).scheme):
            raise FetchError(f"{page} has {self.name} at {address}, which is no address of the network")
        return address


def index_url() -> str:
    """`$PIP_INDEX_URL`, else what pip's settings say, else PyPI. A password in it is left out: none is sent."""
    told = os.environ.get("PIP_INDEX_URL", "").strip() or _pip_setting("global.index-url") or PYPI
    parts = urlsplit(told)
    if parts.scheme not in ("http", "https", "file"):
        raise FetchError(f"pip's index-url is {told!r}; an address that begins with https:// is expected")
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _pip_setting(name: str) -> str:
    """As pip's own settings have it; empty where they have not, or where there is no pip."""
    command = [sys.executable, "-m", "pip", "config", "get", name]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


class _Links(HTMLParser):
    """The addresses that a page links to, in `found`."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]
