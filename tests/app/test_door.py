"""Who may see the dashboard, asked of the real server, started in a folder that is not the repository."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from access import guard, options
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

from deltamask.cli.app import SCRIPT, command, free_port
from tests.support.dashboard import PATIENCE, ask, open_socket, serving

SECRET = "correct horse battery"
FOREIGN = [
    {"Host": "evil.example"},
    {"Host": "localhost.evil.example"},
    {"Host": "localhost@evil.example"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Host": "evil.example", "Origin": "http://evil.example"},  # DNS rebinding: the same name in both
    {"Origin": "http://localhost:1"},  # another server on this machine
]


def outer_address() -> str | None:
    """This machine's address on a network, if it is on one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if options.is_local(address) else address


def visit(port: int, query: str = "", page: str = "") -> list[ForwardMsg]:
    """Open the page without a browser, and collect what the server sends until its script has ended."""
    messages = []
    with connect(f"ws://localhost:{port}/_stcore/stream", max_size=None, open_timeout=PATIENCE) as stream:
        rerun = BackMsg()
        rerun.rerun_script.query_string, rerun.rerun_script.page_name = query, page
        stream.send(rerun.SerializeToString())
        while not messages or messages[-1].WhichOneof("type") != "script_finished":
            message = stream.recv(timeout=PATIENCE)
            assert isinstance(message, bytes)
            messages.append(ForwardMsg.FromString(message))
    return messages


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """`streamlit run /path/to/app/main.py` in an empty folder, with variables that ask for what is unsafe."""
    unsafe = {
        "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "true", "STREAMLIT_SERVER_ENABLE_CORS": "false",
        "STREAMLIT_SERVER_ENABLE_XSRF_PROTECTION": "false", "STREAMLIT_SERVER_ALLOWED_HOSTS": "*",
    }  # fmt: skip
    with serving(tmp_path_factory.mktemp("elsewhere"), **unsafe) as port:
        yield port


def test_from_another_folder_it_listens_on_loopback_only(port: int) -> None:
    assert ask(port).status == 200
    if address := outer_address():
        with pytest.raises(OSError, match="refused"):
            ask(port, address=address)


def test_usage_statistics_are_off_whatever_the_variables_say(port: int) -> None:
    (first,) = [message.new_session for message in visit(port) if message.WhichOneof("type") == "new_session"]
    assert first.config.gather_usage_stats is False


def test_the_options_hold_when_streamlit_reads_its_files_again() -> None:
    """As it does whenever one of them changes; the words of the command line count again then."""
    code = (
        "from access import options; from streamlit import config; options.enforce()\n"
        "config.get_config_options(True, {'browser.gatherUsageStats': True, 'server.allowedHosts': ['*']})\n"
        "print(config.get_option('browser.gatherUsageStats'), *config.get_option('server.allowedHosts'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=SCRIPT.parent, capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    assert done.stdout.split() == ["False", *options.LOCAL_HOSTS]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_foreign_names_are_refused(port: int, headers: dict[str, str]) -> None:
    for path in ("/", "/_stcore/health", "/compare"):
        answer = ask(port, path, **headers)
        assert answer.status == 403
        assert "dashboard" in answer.body
    assert open_socket(port, **headers) == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LOCALHOST", "[::1]"])
def test_names_of_this_machine_are_answered(port: int, host: str) -> None:
    host = f"{host}:{port}"
    assert ask(port, Host=host).status == 200
    assert open_socket(port, Host=host, Origin=f"http://{host}") == 101


@pytest.mark.parametrize("family", ["folder:", "clients:"])
def test_a_folder_that_a_link_names_is_not_read(family: str, port: int, tmp_path: Path) -> None:
    (tmp_path / "photos" / "empty-class").mkdir(parents=True)
    text = "".join(str(message.delta) for message in visit(port, f"dataset={family}{tmp_path}/photos"))
    assert "Nothing in it has been read" in text
    assert "Read this folder" in text
    assert "empty-class" not in text  # what reading it would complain about


def test_uploads_need_the_token_of_the_page(port: int) -> None:
    assert ask(port, "/_stcore/upload_file/a/b", method="PUT", body="x").status == 403


def test_the_browser_is_told_to_ask_nobody_else(port: int) -> None:
    policy = ask(port).headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'self'" in policy


@pytest.mark.parametrize(("address", "password"), [("0.0.0.0", ""), ("192.0.2.1", "short")])
def test_an_address_that_others_reach_is_refused_without_a_password(
    tmp_path: Path, address: str, password: str
) -> None:
    process = subprocess.run(
        command(free_port(), "--server.address", address), cwd=tmp_path, capture_output=True, text=True,
        timeout=PATIENCE, env={**os.environ, "HOME": str(tmp_path), "DELTAMASK_PASSWORD": password},
    )  # fmt: skip
    assert process.returncode != 0
    assert "DELTAMASK_PASSWORD" in process.stderr or "assign requested address" in process.stderr


def test_with_a_password_nothing_is_shown_before_the_login(tmp_path: Path) -> None:
    with serving(tmp_path, "--server.address", "0.0.0.0", DELTAMASK_PASSWORD=SECRET) as port:
        address = outer_address() or "127.0.0.1"
        host = f"{address}:{port}"
        for path in ("/", "/_stcore/host-config", "/static/index.html", "/media/x.png"):
            answer = ask(port, path, address=address, Host=host)
            assert answer.status == 401
            assert 'type="password"' in answer.body
        assert open_socket(port, Host=host) == 403
        form = {"Host": host, "Origin": f"http://{host}", "Content-Type": "application/x-www-form-urlencoded"}
        for wrong in ("", "password=", f"password={quote(SECRET)}x", "password=" + "x" * 10_000):
            answer = ask(port, method="POST", body=wrong, **form)
            assert answer.status == 401
            assert "set-cookie" not in answer.headers
        right = f"password={quote(SECRET)}"
        assert ask(port, method="POST", body=right, **{**form, "Origin": "http://evil.example"}).status == 403
        answer = ask(port, "//evil.example/?run=fashion", method="POST", body=right, **form)
        assert (answer.status, answer.headers["location"]) == (303, "/evil.example/?run=fashion")
        cookie = answer.headers["set-cookie"].split(";")[0]
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert ask(port, address=address, Host=host, Cookie=cookie).status == 200
        assert open_socket(port, Host=host, Cookie=cookie, Origin=f"http://{host}") == 101
        assert open_socket(port, Host=host, Cookie=cookie, Origin="http://evil.example") == 403
        assert ask(port, Host=host, Cookie=cookie[:-1]).status == 401


def test_whoever_comes_first_gets_the_page_they_name_within_the_frame(tmp_path: Path) -> None:
    with serving(tmp_path) as port:
        (navigation,) = [message.navigation for message in visit(port, page="learn") if message.HasField("navigation")]
    assert [page.page_name for page in navigation.app_pages] == ["Lab", "Compare", "Wire", "Privacy", "Learn"]
    assert navigation.page_script_hash == navigation.app_pages[-1].page_script_hash


def test_the_frame_shows_nothing_when_it_is_started_without_the_checks(tmp_path: Path) -> None:
    path = os.pathsep.join([str(SCRIPT.parent), os.environ.get("PYTHONPATH", "")])
    with serving(tmp_path, script=SCRIPT.parent / "ui" / "frame.py", PYTHONPATH=path) as port:
        for page in ("", "learn"):
            messages = visit(port, page=page)
            assert "make app" in "".join(str(message.delta) for message in messages)
            assert "navigation" not in {message.WhichOneof("type") for message in messages}


@pytest.mark.parametrize(
    ("address", "local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("192.168.1.5", False), ("", False), (None, False), ("evil.example", False)],
)  # fmt: skip
def test_which_addresses_are_local(address: str | None, local: bool) -> None:
    assert options.is_local(address) is local


@pytest.mark.parametrize("address", ["192.168.1.5", "::ffff:10.0.0.1", None])
def test_a_connection_over_another_address_is_refused_whatever_the_options_say(address: str | None) -> None:
    """As with `uvicorn main:app --host 0.0.0.0`, which reads no option of Streamlit's."""
    scope = {"type": "http", "server": (address, 8501) if address else None, "headers": [(b"host", b"localhost:8501")]}
    assert "password" in (guard.refusal(scope, anywhere=False) or "")
    assert guard.refusal(scope, anywhere=True) is None
