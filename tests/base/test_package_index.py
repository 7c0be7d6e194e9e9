"""Files of a package index: found by name, checked by sum, and nothing of a package run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deltamask.base.package_index import PYPI, Packaged, index_url
from deltamask.base.remote import FetchError, fetch
from tests.support.serving import Server, offer_package, serving

CONTENT = bytes(range(256)) * 40
SUM = hashlib.sha256(CONTENT).hexdigest()
FILE = Packaged("some_thing-1.0-py3-none-any.whl", len(CONTENT), sha256=SUM, project="Some.Thing")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An index that pip is set up with."""
    with serving() as running:
        monkeypatch.setenv("PIP_INDEX_URL", f"{running.url}/simple/")
        yield running


def bring(file: Packaged, folder: Path) -> bytes:
    fetch(file, folder / "file", "deltamask download some-thing", lambda what, done, total: None)
    return (folder / "file").read_bytes()


@pytest.mark.parametrize("told", ["", f"sha256={SUM}"])
def test_a_file_is_found_on_its_project_s_page(server: Server, tmp_path: Path, told: str) -> None:
    offer_package(server, "some-thing", FILE.name, CONTENT, told)
    assert bring(FILE, tmp_path) == CONTENT
    assert [path for path, _ in server.asked] == ["/simple/some-thing/", f"/files/{FILE.name}"]


def test_an_index_may_be_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "simple" / "some-thing").mkdir(parents=True)
    (tmp_path / "simple" / "some-thing" / "index.html").write_text(f'<a href="{FILE.name}">it</a>')
    (tmp_path / "simple" / "some-thing" / FILE.name).write_bytes(CONTENT)
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    assert bring(FILE, tmp_path) == CONTENT


def test_a_download_that_was_torn_goes_on(server: Server, tmp_path: Path) -> None:
    offer_package(server, "some-thing", FILE.name, CONTENT)
    server.stop_after = 1000
    with pytest.raises(FetchError, match=r"1,000 of 10,240 bytes are here.*it goes on from there"):
        bring(FILE, tmp_path)
    server.stop_after = None
    assert bring(FILE, tmp_path) == CONTENT
    assert server.asked[-1] == (f"/files/{FILE.name}", "bytes=1000-")


def test_what_is_whole_already_needs_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://nowhere.invalid/simple")
    (tmp_path / "file").write_bytes(CONTENT)
    assert bring(FILE, tmp_path) == CONTENT


def test_another_version_is_named(server: Server, tmp_path: Path) -> None:
    offer_package(server, "some-thing", "some_thing-2.0-py3-none-any.whl", CONTENT)
    with pytest.raises(FetchError, match=r"has no some_thing-1\.0-\S+, only some_thing-2\.0-\S+: another version"):
        bring(FILE, tmp_path)


def test_a_file_with_another_sum_is_refused(server: Server, tmp_path: Path) -> None:
    offer_package(server, "some-thing", FILE.name, CONTENT, f"sha256={'0' * 64}")
    with pytest.raises(FetchError, match="has another some_thing"):
        bring(FILE, tmp_path)
    offer_package(server, "some-thing", FILE.name, CONTENT[:-1] + b"x")
    with pytest.raises(FetchError, match=r"wrong checksum \(SHA-256 .* deleted.*must not be trusted"):
        bring(FILE, tmp_path)
    assert not (tmp_path / "file").exists()


def test_a_link_cannot_name_a_file_of_this_machine(server: Server, tmp_path: Path) -> None:
    (tmp_path / FILE.name).write_bytes(CONTENT)
    link = f'<a href="{(tmp_path / FILE.name).as_uri()}">it</a>'
    server.files["/simple/some-thing/"] = link.encode()
    with pytest.raises(FetchError, match="no address of the network"):
        bring(FILE, tmp_path)


def test_an_index_that_is_away_or_lacks_the_project_is_said_to(server: Server, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"some_thing-1\.0-\S+ of Some\.Thing on pip's package index: Not Found"):
        bring(FILE, tmp_path)
    server.shutdown()
    server.server_close()
    with pytest.raises(FetchError, match="Connection refused"):
        bring(replace(FILE, project="other"), tmp_path)


def test_the_index_is_pip_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)  # none of this machine's settings
    assert index_url() == PYPI
    settings = tmp_path / "pip.conf"
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    settings.write_text("[global]\nindex-url = https://me:secret@mirror.example/simple\n")
    assert index_url() == "https://mirror.example/simple"  # the password is not ours to send
    monkeypatch.setenv("PIP_INDEX_URL", "mirror.example")
    with pytest.raises(FetchError, match="begins with https://"):
        index_url()
