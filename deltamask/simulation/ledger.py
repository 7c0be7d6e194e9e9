"""The account of all payloads: bytes that really travelled, and what they mean in bits per parameter."""

from __future__ import annotations

from dataclasses import dataclass


def bits_per_parameter(sent_bytes: int, d: int, clients: int = 1) -> float:
    """bpp = 8 · bytes / d, averaged over the clients that sent or received them."""
    return 8 * sent_bytes / (d * clients) if clients else 0.0


@dataclass
class Ledger:
    """One round's account. Bytes are those of whole payloads, header, picture and padding included."""

    d: int
    uplink_bytes: int = 0
    uplink_messages: int = 0
    downlink_bytes: int = 0
    downlink_messages: int = 0

    def up(self, payload: bytes) -> None:
        """A client sent this."""
        self.uplink_bytes += len(payload)
        self.uplink_messages += 1

    def down(self, sent_bytes: int) -> None:
        """The server sent messages of so many bytes to one client."""
        self.downlink_bytes += sent_bytes
        self.downlink_messages += 1

    @property
    def bpp_up(self) -> float:
        return bits_per_parameter(self.uplink_bytes, self.d, self.uplink_messages)

    @property
    def bpp_down(self) -> float:
        return bits_per_parameter(self.downlink_bytes, self.d, self.downlink_messages)
