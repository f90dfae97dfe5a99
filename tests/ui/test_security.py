"""S2: who gets nothing from `metta-sweep ui`."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from metta.sweep.ui.security import CONTENT_SECURITY_POLICY, Access
from tests.ui.conftest import TOKEN, Runs, Site

FOREIGN = {"sec-fetch-site": "cross-site"}
CLICKED = {**FOREIGN, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
EVERYWHERE = ("/", "/static/style.css", "/events", "/parts/runs", "/nowhere")


@pytest.mark.parametrize("path", EVERYWHERE)
def test_without_the_token_there_is_nothing(stranger: TestClient, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status_code == 403
    assert "The token is missing" in answer.text
    assert "small" not in answer.text


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "\udce4", "ä"])
def test_a_wrong_token_is_refused(stranger: TestClient, token: str) -> None:
    answer = stranger.get("/?token=" + quote(token, errors="surrogateescape"))
    assert answer.status_code == 403
    assert "token in the address is wrong" in answer.text
    assert "set-cookie" not in answer.headers


def test_the_token_becomes_a_cookie_and_leaves_the_address(stranger: TestClient, access: Access) -> None:
    answer = stranger.get(f"/runs/a~b?sort=step&token={TOKEN}")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/runs/a~b?sort=step"
    assert answer.headers["set-cookie"] == f"{access.cookie}={access.session}; Path=/; HttpOnly; SameSite=Strict"
    assert TOKEN not in answer.headers["set-cookie"] + repr(access)
    assert stranger.get("/").status_code == 200


def test_a_link_on_another_page_is_led_on_without_a_redirect(stranger: TestClient) -> None:
    """After a redirect from a foreign page the browser would keep a strict cookie back."""
    answer = stranger.get(f"/?token={TOKEN}", headers=CLICKED)
    assert answer.status_code == 200
    assert 'http-equiv="refresh" content="0;url=/"' in answer.text
    assert "SameSite=Strict" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "path", ["//elsewhere.example/", "/\\elsewhere.example", "/%0d%0aset-cookie:x=1", '/"><script>']
)
def test_the_way_on_stays_here(stranger: TestClient, path: str) -> None:
    for headers in ({}, CLICKED):
        answer = stranger.get(f"http://127.0.0.1{path}?token={TOKEN}", headers=headers)
        target = answer.headers.get("location") or answer.text.partition("0;url=")[2].partition('"')[0]
        assert target.startswith("/")
        assert not target.startswith(("//", "/\\"))
        assert "<" not in target
        assert answer.headers.get_list("set-cookie")[1:] == []


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
@pytest.mark.parametrize("path", EVERYWHERE)
def test_other_methods_are_refused(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/", "/static/live.js", "/events", "/parts/runs"])
def test_head_is_answered_without_a_body(client: TestClient, path: str) -> None:
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    "headers",
    [
        FOREIGN,
        {"sec-fetch-site": "same-site"},
        {**FOREIGN, "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
        CLICKED,
        {"sec-fetch-site": "unheard-of"},
        {"origin": "http://elsewhere.example"},
        {"origin": "null"},
        {"origin": "https://127.0.0.1"},
    ],
)
@pytest.mark.parametrize("path", EVERYWHERE)
def test_other_pages_get_nothing_even_with_the_cookie(
    client: TestClient, headers: Mapping[str, str], path: str
) -> None:
    assert client.get(path, headers=headers).status_code == 403


def test_a_foreign_page_cannot_use_the_token_without_a_click(stranger: TestClient) -> None:
    answer = stranger.get(f"/?token={TOKEN}", headers=FOREIGN)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_our_own_pages_are_answered(client: TestClient) -> None:
    for headers in ({"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1"}, {"sec-fetch-site": "none"}):
        assert client.get("/", headers=headers).status_code == 200


@pytest.mark.parametrize("cookie", ["", "x", "{}={}x", "{}=", "x{}={}", 'a="; {}={}'])
def test_other_cookies_are_no_help(stranger: TestClient, access: Access, cookie: str) -> None:
    text = cookie.format(access.cookie, access.session)
    expected = 200 if text.startswith("a=") else 403
    assert stranger.get("/", headers={"cookie": text}).status_code == expected


@pytest.mark.parametrize(
    ("listen", "host", "allowed"),
    [
        ("127.0.0.1", "127.0.0.1:80", True),
        ("127.0.0.1", "localhost:9000", True),
        ("127.0.0.1", "LOCALHOST", True),
        ("127.0.0.1", "[::1]:80", True),
        ("127.0.0.1", "127.0.0.1.evil.example", False),
        ("127.0.0.1", "evil.example:80", False),
        ("127.0.0.1", "localhost.evil.example", False),
        ("127.0.0.1", "evil.example@127.0.0.1", False),
        ("127.0.0.1", "192.0.2.1", False),
        ("127.0.0.1", "", False),
        ("127.0.0.1", "[", False),
        ("localhost", "localhost", True),
        ("0.0.0.0", "192.0.2.1:80", True),
        ("0.0.0.0", "evil.example", False),
        ("0.0.0.0", socket.gethostname(), True),
        ("node7.cluster", "node7.cluster:80", True),
    ],
)
def test_the_host_must_be_ours(listen: str, host: str, allowed: bool) -> None:
    assert Access(listen, 80).allows_host(host) is allowed


def test_a_name_that_leads_here_is_refused(client: TestClient) -> None:
    """DNS rebinding: the browser thinks that it talks to evil.example."""
    answer = client.get("/", headers={"host": "evil.example"})
    assert answer.status_code == 400


@pytest.mark.parametrize("path", [*EVERYWHERE, "/runs/nowhere"])
def test_every_answer_has_the_headers(client: TestClient, path: str) -> None:
    for headers in ({}, FOREIGN, {"host": "evil.example"}):
        if path == "/events" and not headers:
            continue  # it does not end
        answer = client.get(path, headers=headers)
        assert answer.headers.get_list("content-security-policy") == [CONTENT_SECURITY_POLICY]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers.get_list("cache-control") == ["no-store"]
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in answer.headers


def test_websockets_are_closed(client: TestClient) -> None:
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/events"):
        pass


def raw(site: Site, target: bytes, headers: bytes = b"") -> tuple[int, bytes]:
    """A request as bytes; the status and the whole answer."""
    cookie = f"cookie: {site.access.cookie}={site.access.session}\r\n".encode()
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
        connection.sendall(b"GET " + target + b" HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n")
        connection.sendall(headers + cookie + b"\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer.split(b" ", 2)[1]), answer


@pytest.mark.parametrize(
    "target",
    [
        b"/runs/../../../../etc/passwd",
        b"/runs/..%2f..%2f..%2fetc%2fpasswd",
        b"/runs/%2e%2e/manifest.json",
        b"/runs/..",
        b"/runs/.",
        b"/runs/~",
        b"/runs/~~",
        b"/runs/%00",
        b"/runs/{run}%00",
        b"/runs/{run}~..",
        b"/runs/{run}~{run}",
        b"/runs/{run}%2fmanifest.json",
        b"/runs/{run}/parts/manifest",
        b"/runs/{run}/parts/..",
        b"/runs/{run}/trials/-1",
        b"/runs/{run}/trials/99999",
        b"/runs/{run}/trials/999999999999999999999",
        b"/runs/{run}/trials/%d9%a1",
        b"/runs/{run}/logs/manifest.json",
        b"/runs/{run}/logs/trials/../manifest.json",
        b"/runs/{run}/logs/trials/trial-0000/../../manifest.json",
        b"/runs/{run}/logs/trials/trial-0000/..%2f..%2f..%2flog.txt",
        b"/runs/{run}/logs//etc/passwd",
        b"/runs/{run}/logs/trials/log.txt%00",
        b"/runs/" + b"a" * 1999,
        b"/runs/" + b"a" * 10_000,
        b"/runs/" + b"~".join([b"{run}"] * 30),
        b"/static/../app.py",
        b"/static/..%2fapp.py",
        b"/static/%2e%2e%2fapp.py",
        b"/static//etc/passwd",
        b"/static/style.css%00.js",
        b"/" + b"%f0%9f%92%a9" * 100,
    ],
)
def test_paths_lead_nowhere_else(site: Site, runs: Runs, target: bytes) -> None:
    status, answer = raw(site, target.replace(b"{run}", runs.sweep.id.encode()))
    assert status == 404
    assert b"root:" not in answer
    assert b"working_folder" not in answer
    assert b"Traceback" not in answer


def test_what_is_no_http_ends_the_connection_only(site: Site) -> None:
    assert raw(site, b"/\x00")[0] == 400
    with contextlib.suppress(ConnectionError):  # it stops reading
        assert raw(site, b"/" + b"a" * 200_000)[0] == 400
    assert raw(site, b"/")[0] == 200


def test_two_hosts_are_refused(site: Site) -> None:
    assert raw(site, b"/", b"host: evil.example\r\n")[0] == 400


def test_an_upgrade_is_not_made(site: Site) -> None:
    upgrade = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: eA==\r\n"
    status, _ = raw(site, b"/", upgrade + b"origin: http://elsewhere.example\r\n")
    assert status == 403
