"""The kept messages of a run: loose files in `payloads/`, or all of them in one file, `payloads.zip`. Needs no torch.

A run writes loose files. `write_pack` makes the one file of them: a zip that stores its entries as they are, since none
of the messages can be compressed further. Both may be there: a loose file counts more than an entry of the same name,
so that a packed run can be continued.

r0007-c03.png, .bin   what client 3 sent in round 7
r0007-c03.flips       what only that client knew of it (`client_flips.py`)
r0007-down.bin        the broadcast that opened round 7

Whatever a pack holds, it is parsed within bounds, and StoreError is the only exception.
"""

from __future__ import annotations

import functools
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from deltamask.base.files import write_atomic
from deltamask.masking.masks import Positions
from deltamask.runs import StoreError

FOLDER = "payloads"
PACK = "payloads.zip"
SIDE_SUFFIX = ".flips"
MAX_FILE = 1 << 28  # bytes of one message: what is larger is not read
MAX_DIRECTORY = 1 << 22  # bytes of a pack's directory: some 50,000 messages
NAME = re.compile(r"r\d{4,7}-(?:c\d{2,7}\.(?:png|bin|flips)|down\.bin)")
UPLINK_NAME = re.compile(r"r(\d{4,7})-c(\d{2,7})\.(?:png|bin)")
END = struct.Struct("<4s4H2LH")  # the end of a zip: mark, disks, entries, the directory's size and offset, comment
END_64_BYTES = 20  # of what stands before it in a zip of more than 4 GB
LOCAL = struct.Struct("<4s22x2H")  # what stands before an entry's bytes: mark, lengths of its name and extra field
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same messages make the same pack, whenever it is made


@dataclass(frozen=True)
class Message:
    """A kept message. size: in bytes. place: its file, or the pack that holds it. changed: mtime of that, in ns."""

    name: str
    size: int
    place: Path
    changed: int

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self.size:,} bytes>"

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix

    def read(self) -> bytes:
        """Its bytes. StoreError if they are gone, damaged, or too many to look at."""
        if self.size > MAX_FILE:
            raise StoreError(f"{self.name} has {self.size:,} bytes: too large to look at")
        try:
            return _read_packed(self.place, self.name) if self.place.name == PACK else _read_loose(self.place)
        except OSError as error:
            raise StoreError(f"{self.name} cannot be read: {error.strerror}") from None


@dataclass(frozen=True, repr=False)
class Payload(Message):
    """A kept uplink message, and whose it is."""

    round: int
    client: int

    def decode(self) -> Positions:
        """The sorted positions, int64, that the server read out of it. StoreError if it carries no flips (a head, dense
        updates), DecodeError if it is damaged."""
        from deltamask.inspection.decode import decode_flips  # which reads run folders, so not at the top

        return decode_flips(str(self.run), self.round, self.client)

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.place.parent if self.place.name == PACK else self.place.parent.parent


def messages(run: Path, round: int | None = None) -> dict[str, Message]:
    """All kept messages of a run folder, or those of one round, by name. StoreError if its pack is damaged."""
    prefix = "r" if round is None else f"r{round:04d}-"
    packed = {name: message for name, (message, _) in _pack(run).items() if name.startswith(prefix)}
    return dict(sorted((packed | _loose(run, prefix)).items()))


def uplink(run: Path, round: int | None = None) -> list[Payload]:
    """The kept uplink messages of a run folder, by round and client. StoreError if its pack is damaged."""
    found = [(UPLINK_NAME.fullmatch(name), message) for name, message in messages(run, round).items()]
    return sorted(
        (Payload(**vars(message), round=int(match[1]), client=int(match[2])) for match, message in found if match),
        key=lambda payload: (payload.round, payload.client),
    )


def has_uplink(run: Path) -> bool:
    """Whether a run folder has kept an uplink message: a look at the first. StoreError if its pack is damaged."""
    with suppress(OSError), os.scandir(run / FOLDER) as entries:
        if any(UPLINK_NAME.fullmatch(entry.name) for entry in entries):
            return True
    return any(UPLINK_NAME.fullmatch(name) for name in _pack(run))


def broadcast(run: Path, round: int) -> bytes | None:
    """The broadcast that opened a round, or None if it was not kept. StoreError if it cannot be read."""
    return _read(run, f"r{round:04d}-down.bin")


def side_file(run: Path, round: int, client: int) -> bytes | None:
    """What `client_flips` packed of a payload, or None if it was not kept. StoreError if it cannot be read."""
    return _read(run, f"r{round:04d}-c{client:02d}{SIDE_SUFFIX}")


def write_pack(path: Path, messages: Mapping[str, bytes]) -> None:
    """Write messages by name as one file, the same bytes for the same messages. StoreError for a name not of a run."""
    with write_atomic(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name in sorted(messages):
            if not NAME.fullmatch(name):
                raise StoreError(f"{name!r} is no message of a run")
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, messages[name])


def _read(run: Path, name: str) -> bytes | None:
    path = run / FOLDER / name
    try:
        found: Message | None = Message(name, (status := path.stat()).st_size, path, status.st_mtime_ns)
    except OSError:
        found, _ = _pack(run).get(name, (None, None))
    return None if found is None else found.read()


def _loose(run: Path, prefix: str) -> dict[str, Message]:
    """Empty if there is no such folder. Only what is asked for is looked at: there may be thousands of files."""
    found = {}
    with suppress(OSError), os.scandir(run / FOLDER) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and NAME.fullmatch(entry.name) and entry.is_file():
                status = entry.stat()
                found[entry.name] = Message(entry.name, status.st_size, Path(entry.path), status.st_mtime_ns)
    return found


def _read_loose(path: Path) -> bytes:
    with open(path, "rb") as file:
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise StoreError(f"{path.name} has more than {MAX_FILE:,} bytes: too large to look at")
    return data


def _pack(run: Path) -> Mapping[str, tuple[Message, zipfile.ZipInfo]]:
    path = run / PACK
    try:
        status = path.stat()
    except OSError:
        return {}
    return _directory(path, status.st_size, status.st_mtime_ns, status.st_ino)


@functools.lru_cache(maxsize=128)
def _directory(path: Path, size: int, changed: int, inode: int) -> Mapping[str, tuple[Message, zipfile.ZipInfo]]:
    """The pack's entries by name, each checked. Only what has a bounded directory is given to `zipfile`."""
    if not path.is_file():
        raise StoreError(f"{path} is no file")
    try:
        with open(path, "rb") as file:
            start = _directory_start(file, size)
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from None
    except (zipfile.BadZipFile, struct.error, ValueError, OverflowError, NotImplementedError, EOFError) as error:
        raise StoreError(f"{path} is damaged: {error}") from None
    found: dict[str, tuple[Message, zipfile.ZipInfo]] = {}
    for entry in entries:
        fault = "is there twice" if entry.filename in found else _fault(entry, start)
        if fault is not None:
            raise StoreError(f"{path} is damaged: {entry.filename[:100]!r} {fault}")
        found[entry.filename] = Message(entry.filename, entry.file_size, path, changed), entry
    if sum(entry.file_size for entry in entries) > start:
        raise StoreError(f"{path} is damaged: it promises more bytes than it has")
    return found


def _directory_start(file: BinaryIO, size: int) -> int:
    """Where the directory of a plain zip of `size` bytes begins, and its entries end. ValueError if it is none."""
    if size < END.size:
        raise ValueError("it is too short for a zip")
    file.seek(-END.size, os.SEEK_END)
    mark, disk, first_disk, here, entries, length, start, comment = END.unpack(file.read(END.size))
    if mark != b"PK\5\6" or disk or first_disk or comment or here != entries or start + length + END.size != size:
        raise ValueError("it is no zip, or not all of one")
    if length > MAX_DIRECTORY:
        raise ValueError(f"its directory has {length:,} bytes, at most {MAX_DIRECTORY:,} are read")
    file.seek(max(0, size - END.size - END_64_BYTES))
    if file.read(4) == b"PK\6\7":  # would name another directory, of any size
        raise ValueError("it is a zip of the large kind")
    return int(start)


def _fault(entry: zipfile.ZipInfo, end: int) -> str | None:
    """Why an entry is refused, if it is. end: where the entries end."""
    if not NAME.fullmatch(entry.filename):
        return "is no message of a run"
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        return "is a link or a special file"
    if entry.flag_bits & 0x1:
        return "is encrypted"
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        return "is compressed, which messages are already"
    if entry.header_offset < 0 or entry.header_offset + LOCAL.size + entry.file_size > end:
        return "ends behind the pack"
    return None


def _read_packed(path: Path, name: str) -> bytes:
    """An entry's bytes, as the pack is now."""
    message, entry = _pack(path.parent).get(name, (None, None))
    if message is None or entry is None:
        raise StoreError(f"{name} is no longer in {path}")
    with open(path, "rb") as file:
        file.seek(entry.header_offset)
        head = file.read(LOCAL.size)
        if len(head) < LOCAL.size or head[:4] != b"PK\3\4":
            raise StoreError(f"{path} is damaged: {name} is not where its directory says")
        file.seek(sum(LOCAL.unpack(head)[1:]), os.SEEK_CUR)
        data = file.read(message.size)
    if len(data) != message.size or zlib.crc32(data) != entry.CRC:
        raise StoreError(f"{path} is damaged: {name} does not have the checksum that its directory says")
    return data
