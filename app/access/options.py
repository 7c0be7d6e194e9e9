"""Streamlit's options that safety rests on, set in code: no working directory, flag or variable undoes them."""

from __future__ import annotations

import ipaddress
import os

from streamlit import config

PASSWORD = "DELTAMASK_PASSWORD"
LEAST_PASSWORD = 12  # characters
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
HOW_TO_START = "Start it with `make app`, `deltamask app` or `streamlit run app/main.py`."

enforced = False  # has `enforce` been called in this process? The frame shows nothing otherwise


def password() -> str | None:
    """The password that visitors must give, from $DELTAMASK_PASSWORD. SystemExit if it is too short to be one."""
    given = os.environ.get(PASSWORD)
    if given and len(given) < LEAST_PASSWORD:
        raise SystemExit(f"{PASSWORD} has {len(given)} characters; at least {LEAST_PASSWORD} are needed")
    return given or None


def enforce() -> None:
    """Set the options now, and again whenever Streamlit reads its files anew."""
    global enforced
    if not enforced:
        config.on_config_parsed(_set, force_connect=True)
    _set()
    enforced = True


def _set() -> None:
    values = {
        "browser.gatherUsageStats": False,
        "global.developmentMode": False,  # it would accept a WebSocket from any page
        "server.allowedHosts": [] if os.environ.get(PASSWORD) else list(LOCAL_HOSTS),
        "server.enableAgentApi": False,
        "server.enableCORS": True,
        "server.enableStaticServing": False,
        "server.enableXsrfProtection": True,
    }
    for name, value in values.items():
        config.set_option(name, value)


def refuse_open_address() -> None:
    """SystemExit if the server would listen beyond this machine and no password is set."""
    address = config.get_option("server.address")
    if not is_local(address) and password() is None:
        raise SystemExit(
            f"The dashboard would listen on {address or 'all addresses'}, where others can reach it and start runs. "
            f"Leave --server.address at localhost, or set {PASSWORD} (and --server.sslCertFile, --server.sslKeyFile, "
            "since a password sent in the clear is no secret)."
        )


def announce() -> None:
    """Print where the dashboard is. Streamlit's own greeting, switched off, asks a host elsewhere for our address."""
    address = config.get_option("server.address")
    name = "localhost" if is_local(address) else address
    scheme = "https" if config.get_option("server.sslCertFile") else "http"
    print(f"DeltaMask Explorer: {scheme}://{name}:{config.get_option('server.port')}", flush=True)


def is_local(address: str | None) -> bool:
    """Is this a name or an address of the loopback interface, which no other machine reaches?"""
    if address in LOCAL_HOSTS:
        return True
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)
