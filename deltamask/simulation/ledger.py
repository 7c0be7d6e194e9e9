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
    uplink_clients: int = 0
    downlink_bytes: int = 0
    downlink_clients: int = 0

    def up(self, payload: bytes, *, again: bool = False) -> None:
        """A client sent this. again: it has sent something in this round before."""
        self.uplink_bytes += len(payload)
        self.uplink_clients += not again

    def down(self, sent_bytes: int, *, again: bool = False) -> None:
        """The server sent messages of so many bytes to one client. again: not for the first time in this round."""
        self.downlink_bytes += sent_bytes
        self.downlink_clients += not again

    @property
    def bpp_up(self) -> float:
        return bits_per_parameter(self.uplink_bytes, self.d, self.uplink_clients)

    @property
    def bpp_down(self) -> float:
        return bits_per_parameter(self.downlink_bytes, self.d, self.downlink_clients)
