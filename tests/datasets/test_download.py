"""`deltamask download`: from a server on this machine that is honest, slow to finish, wrong, or not there."""

from __future__ import annotations

import gzip
import hashlib
import io
import socket
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torchvision.datasets as theirs
from lab import fetching

from deltamask import datasets
from deltamask.cli import main
from deltamask.datasets import DatasetError
from deltamask.datasets.catalogue import fashion_mnist
from deltamask.datasets.download import download
from deltamask.datasets.spec import Download, Remote
from tests.support import real_formats
from tests.support.serving import Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where downloads go; Debian's Fashion-MNIST is not looked at."""
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FASHION", tmp_path / "not installed")
    folder = tmp_path / "data"
    monkeypatch.setenv("DELTAMASK_DATA", str(folder))
    return folder


def remote(server: Server, name: str, content: bytes) -> Remote:
    """The file, offered by the server."""
    server.files[f"/{name}"] = content
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return Remote(f"{server.url}/{name}", len(content), digest)


def tar_of(folder: Path) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(folder, folder.name)
    return packed.getvalue()


def zip_of(folder: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder.parent))
    return packed.getvalue()


@pytest.fixture
def offered(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Download:
    """A tiny CIFAR-10 on the server, in place of the real one's address."""
    real_formats.cifar10_binary(tmp_path / "origin")
    what = Download(
        (remote(server, "cifar.tar.gz", tar_of(tmp_path / "origin" / "cifar-10-batches-bin")),), unpack=True
    )
    monkeypatch.setitem(datasets.datasets._entries, "cifar-10", replace(datasets.get("cifar-10"), download=what))
    return what


def nothing(what: str, done: int, total: int) -> None:
    pass


def test_size_and_licence_are_said_and_nothing_is_fetched_unasked(
    offered: Download, server: Server, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))  # no terminal: nobody who could have read the question
    assert main(["download", "cifar-10"]) == 2
    said = capsys.readouterr().err
    for word in (f"{offered.size / 1e3:.1f} kB", "127.0.0.1", str(root), datasets.get("cifar-10").license, "--yes"):
        assert word in said
    assert main(["run", "--dataset", "cifar-10"]) == 1
    assert "`deltamask download cifar-10`" in capsys.readouterr().err
    assert server.asked == []
    assert not root.exists()


def test_what_is_downloaded_can_be_loaded(
    offered: Download, server: Server, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["download", "cifar-10", "--yes"]) == 0
    assert str(root / "cifar-10-batches-bin") in capsys.readouterr().err
    assert [path.name for path in root.iterdir()] == ["cifar-10-batches-bin"]  # and nothing is left over
    assert len(datasets.load("cifar-10").test_x) == 25
    server.asked.clear()
    assert main(["download", "cifar-10", "--yes"]) == 0
    assert "is here already" in capsys.readouterr().err
    assert server.asked == []


@pytest.mark.parametrize("ranges", [True, False])
def test_a_half_finished_download_goes_on(offered: Download, server: Server, root: Path, ranges: bool) -> None:
    half = offered.size // 2
    server.stop_after, server.ranges = half, ranges
    with pytest.raises(DatasetError) as caught:
        download("cifar-10", offered, root, nothing)
    said = str(caught.value)
    assert f"{half:,} of {offered.size:,} bytes are here" in said
    assert "run `deltamask download cifar-10` again: it goes on from there" in said
    assert datasets.get("cifar-10").where() is None
    assert not (root / "cifar-10-batches-bin").exists()
    server.stop_after = None
    told: list[int] = []
    download("cifar-10", offered, root, lambda what, done, total: told.append(done))
    assert server.asked[-1] == ("/cifar.tar.gz", f"bytes={half}-")
    assert offered.size in told
    assert len(datasets.load("cifar-10").test_x) == 25


def test_a_wrong_checksum_is_refused_and_nothing_of_it_is_kept(offered: Download, server: Server, root: Path) -> None:
    good = server.files["/cifar.tar.gz"]
    server.files["/cifar.tar.gz"] = good[:-1] + bytes([good[-1] ^ 1])
    with pytest.raises(DatasetError, match=r"wrong checksum \(MD5 .* deleted.*must not be trusted"):
        download("cifar-10", offered, root, nothing)
    assert not list(root.rglob("*.gz"))
    assert datasets.get("cifar-10").where() is None
    server.files["/cifar.tar.gz"] = good
    download("cifar-10", offered, root, nothing)
    assert datasets.get("cifar-10").where() is not None


def test_without_a_network_it_says_what_to_do(
    offered: Download, server: Server, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:  # a port where nobody listens
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    away = Download((replace(offered.files[0], url=f"http://127.0.0.1:{port}/cifar.tar.gz"),), unpack=True)
    monkeypatch.setitem(datasets.datasets._entries, "cifar-10", replace(datasets.get("cifar-10"), download=away))
    assert main(["download", "cifar-10", "--yes"]) == 1
    said = capsys.readouterr().err
    assert "Connection refused; 0 of" in said
    assert "Check the network" in said
    place = Path(said.split("put it at ")[1].split(" and run")[0])
    place.write_bytes(server.files["/cifar.tar.gz"])  # brought on a stick
    assert main(["download", "cifar-10", "--yes"]) == 0
    assert len(datasets.load("cifar-10").test_x) == 25


def test_a_file_that_is_gone_is_said_to_be_gone(offered: Download, server: Server, root: Path) -> None:
    server.files.clear()
    with pytest.raises(DatasetError, match=r"Not Found; 0 of"):
        download("cifar-10", offered, root, nothing)


def test_what_is_there_is_never_overwritten(offered: Download, root: Path) -> None:
    mine = root / "cifar-10-batches-bin" / "data_batch_1.bin"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(DatasetError, match=r"data_batch_1.bin is there already: move it away"):
        download("cifar-10", offered, root, nothing)
    assert mine.read_bytes() == b"mine"


def test_an_archive_cannot_reach_out_of_its_folder(server: Server, root: Path, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("../../../out")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"out"))
    with pytest.raises(DatasetError, match="cannot be unpacked"):
        download("x", Download((remote(server, "x.tar.gz", packed.getvalue()),), unpack=True), root, nothing)
    assert not list(tmp_path.rglob("out"))


def test_each_kind_of_download_lands_where_it_is_looked_for(server: Server, root: Path, tmp_path: Path) -> None:
    """The real entries' folders and unpacking, with tiny files in place of the real ones."""
    origin = tmp_path / "origin"
    for make in (real_formats.cifar10_binary, real_formats.cifar100_binary, real_formats.svhn, real_formats.fashion,
                 real_formats.emnist_zip, real_formats.eurosat, real_formats.food, real_formats.vader):  # fmt: skip
        make(origin)
    fashion = [file.name.removesuffix(".gz") for file in downloads("fashion-mnist").files]
    contents = {
        "cifar-10": [tar_of(origin / "cifar-10-batches-bin")],
        "cifar-100": [tar_of(origin / "cifar-100-binary")],
        "svhn": [(origin / "svhn" / name).read_bytes() for name in ("train_32x32.mat", "test_32x32.mat")],
        "fashion-mnist": [gzip.compress((origin / "FashionMNIST" / "raw" / name).read_bytes()) for name in fashion],
        "emnist": [zip_of(origin / "EMNIST" / "raw" / "gzip")],
        "eurosat": [zip_of(origin / "eurosat" / "2750")],
        "food-101": [tar_of(origin / "food-101")],
        "vader": [(origin / "vader" / "vaderSentiment-3.3.2.tar.gz").read_bytes()],
    }
    assert contents.keys() == {name for name in datasets.names() if datasets.get(name).download}
    for name, parts in contents.items():
        real = downloads(name)
        files = [remote(server, file.name, content) for file, content in zip(real.files, parts, strict=True)]
        download(name, replace(real, files=tuple(files)), root, nothing)
        place = datasets.get(name).where()
        assert place is not None
        assert place.is_relative_to(root)
        assert len(datasets.load(name).train_x) > 0


def downloads(name: str) -> Download:
    what = datasets.get(name).download
    assert what is not None
    return what


def test_addresses_and_checksums_are_torchvision_s() -> None:
    """Where it has them: of CIFAR it fetches the pickled version."""
    known = {
        theirs.EMNIST.url: theirs.EMNIST.md5,
        theirs.Food101._URL: theirs.Food101._MD5,
        **{url: md5 for url, _, md5 in theirs.SVHN.split_list.values()},
        **{theirs.FashionMNIST.mirrors[0] + name: md5 for name, md5 in theirs.FashionMNIST.resources},
    }
    names = ("emnist", "food-101", "svhn", "fashion-mnist")
    files = [file for name in names for file in downloads(name).files]
    assert len(files) == 8
    for file in files:
        assert known[file.url] == file.md5
    for name in datasets.names():
        spec = datasets.get(name)
        assert spec.download is None or spec.download.size == spec.size_bytes


def test_what_cannot_be_downloaded_says_how_to_get_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "cars196", "--yes"]) == 1
    assert "its address is dead: put a copy" in capsys.readouterr().err
    assert main(["download", "nowhere"]) == 2
    assert "unknown dataset 'nowhere'" in capsys.readouterr().err


# The page's Download button


def ended(name: str) -> fetching.Fetch:
    """The page's fetch, when it has come to its end."""
    for _ in range(600):
        fetch = fetching.of(name)
        assert fetch is not None
        if not fetch.running:
            return fetch
        time.sleep(0.1)
    raise TimeoutError(name)


def test_the_page_fetches_a_dataset_once(offered: Download, server: Server, root: Path) -> None:
    server.gate = threading.Event()
    fetching.start("cifar-10")
    fetching.start("cifar-10")  # a second tab
    server.gate.set()
    fetch = ended("cifar-10")
    assert fetch.fault is None
    assert len(server.asked) == 1
    assert len(datasets.load("cifar-10").test_x) == 25


def test_the_page_s_fetch_can_be_cancelled_and_goes_on(offered: Download, server: Server, root: Path) -> None:
    server.gate, server.stop_after = threading.Event(), offered.size // 2
    fetching.start("cifar-10")
    while not server.asked:
        time.sleep(0.01)
    fetching.cancel("cifar-10")
    server.gate.set()
    said = ended("cifar-10").fault
    assert said == f"Cancelled after {offered.size // 2:,} of {offered.size:,} bytes; Download goes on from there."
    assert datasets.get("cifar-10").where() is None
    server.stop_after = None
    fetching.start("cifar-10")
    assert ended("cifar-10").fault is None
    assert server.asked[-1] == ("/cifar.tar.gz", f"bytes={offered.size // 2}-")
    assert datasets.get("cifar-10").where() is not None


def test_the_page_says_why_a_fetch_failed(offered: Download, server: Server, root: Path) -> None:
    server.files.clear()
    fetching.start("cifar-10")
    assert "Not Found; 0 of" in str(ended("cifar-10").fault)
