"""Who may read the pages: a guard around the application.

A page on another origin, another user of the machine and a name that an attacker's DNS has bent to 127.0.0.1 must all
get nothing. So every request needs a cookie that is handed out for the token in the printed address, the name of this
machine in `Host`, no foreign `Sec-Fetch-Site` or `Origin`, and a method that changes nothing.
"""

from __future__ import annotations

import hmac
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""Of every answer."""

LONGEST_PATH: Final = 2_000
"""Characters of a path; longer ones name nothing."""

METHODS: Final = ("GET", "HEAD")
_OUR_OWN: Final = ("same-origin", "none")
"""`Sec-Fetch-Site` of our own pages, and of an address that a person has typed or opened from a terminal."""

ErrorPage = Callable[[int, str], bytes]
"""From a status and one sentence to an HTML page."""


@dataclass(frozen=True)
class Access:
    """What one start of the server accepts.

    Attributes:
        host: the address that it listens on.
        port: its port.
        token: whoever knows it may read.
        session: the value of the cookie that is given for it; another secret, so that no cookie reveals the token.
    """

    host: str
    port: int
    token: str = field(default_factory=lambda: token_urlsafe(32), repr=False)
    session: str = field(default_factory=lambda: token_urlsafe(32), repr=False)

    @property
    def cookie(self) -> str:
        """The name of the cookie. Cookies know no ports: two servers on one machine must not share one."""
        return f"metta-sweep-{self.port}"

    def allows_host(self, header: str) -> bool:
        """Whether a `Host` names this server.

        The port is not compared, for an SSH tunnel may end at another one. An address in digits cannot be bent by DNS;
        where we listen on loopback only, it must be one of loopback.
        """
        try:
            name = urlsplit(f"//{header}").hostname
        except ValueError:
            return False
        if not name or "@" in header:
            return False
        address = _address(name)
        if is_loopback(self.host):
            return name == "localhost" if address is None else address.is_loopback
        if address is not None:
            return True
        return name in {self.host.lower(), "localhost", *(each.lower() for each in _own_names())}

    def allows_token(self, token: str) -> bool:
        """Whether this is the token, compared in a time that does not depend on where they differ."""
        return hmac.compare_digest(token.encode("utf-8", "surrogateescape"), self.token.encode())

    def allows_cookies(self, headers: Iterable[str]) -> bool:
        """Whether one of the `Cookie` headers has our session."""
        pairs = (pair.strip().partition("=") for header in headers for pair in header.split(";"))
        mine = [value for name, _, value in pairs if name == self.cookie]
        return any(
            hmac.compare_digest(value.encode("utf-8", "surrogateescape"), self.session.encode()) for value in mine
        )


class Guard:
    """The application behind these checks; every answer, of the application too, gets `HEADERS`.

    Args:
        app: what is guarded.
        access: who may read.
        error_page: makes the page of a refusal.
        end: ends the answers that would go on for ever; called when the server ends.
    """

    def __init__(self, app: ASGIApp, access: Access, error_page: ErrorPage, end: Callable[[], None]) -> None:
        self.end: Final = end
        self._app = app
        self._access = access
        self._error_page = error_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._answer(scope, receive, _with_headers(send))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import Headers

        headers = Headers(scope=scope)
        if scope["method"] not in METHODS:
            text = "These pages can only be read: the methods are GET and HEAD."
            await self._refuse(send, 405, text, {"allow": ", ".join(METHODS)})
            return
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.allows_host(hosts[0]):
            await self._refuse(send, 400, "This is not the address that the server listens on: open the printed one.")
            return
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        tokens = [value for name, value in query if name == "token"]
        site = headers.get("sec-fetch-site", "none")
        is_navigation = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        if (site not in _OUR_OWN and not (tokens and is_navigation)) or not self._is_own_origin(headers.get("origin")):
            await self._refuse(send, 403, "Another page has asked for this: open the printed address yourself.")
            return
        if len(scope["path"]) > LONGEST_PATH or "\0" in scope["path"]:
            await self._refuse(send, 404, "There is no such page: the list of runs is at /.")
            return
        if tokens:
            if not self._access.allows_token(tokens[-1]):
                await self._refuse(send, 403, "The token in the address is wrong: open the printed address.")
                return
            rest = [pair for pair in query if pair[0] != "token"]
            await self._let_in(send, _target(scope["path"], rest), by_redirect=site in _OUR_OWN)
        elif not self._access.allows_cookies(headers.getlist("cookie")):
            text = "The token is missing: open the address that `metta-sweep ui` has printed. It changes at each start."
            await self._refuse(send, 403, text)
        else:
            await self._app(scope, receive, send)

    def _is_own_origin(self, origin: str | None) -> bool:
        if origin is None:
            return True
        return origin.startswith("http://") and self._access.allows_host(origin.removeprefix("http://"))

    async def _let_in(self, send: Send, target: str, *, by_redirect: bool) -> None:
        """Hand out the cookie and lead away from the address with the token.

        After a click on another site, a browser keeps the cookie back from a redirect (`SameSite=Strict`): then a page
        of ours leads on.
        """
        access = self._access
        cookie = f"{access.cookie}={access.session}; Path=/; HttpOnly; SameSite=Strict"
        headers = {"set-cookie": cookie, "content-type": "text/html; charset=utf-8"}
        if by_redirect:
            await _send(send, 303, b"", {**headers, "location": target})
            return
        page = (
            f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={target}"><title>…</title>'
        )
        await _send(send, 200, page.encode(), headers)

    async def _refuse(self, send: Send, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        body = self._error_page(status, text)
        await _send(send, status, body, {"content-type": "text/html; charset=utf-8", **(headers or {})})


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(name.partition("%")[0])
    except ValueError:
        return None


@cache
def _own_names() -> tuple[str, ...]:
    return socket.gethostname(), socket.getfqdn()


def _target(path: str, query: list[tuple[str, str]]) -> str:
    """Where to go on: a path of this server, whatever stood in the request ("//elsewhere" would be another server)."""
    plain = quote("/" + path.lstrip("/\\"), safe="/~")
    return f"{plain}?{urlencode(query)}".replace("'", "%27") if query else plain


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            names = {name for name, _ in own}
            kept = [pair for pair in message.get("headers", ()) if pair[0].lower() not in names]
            message = {**message, "headers": [*kept, *own]}
        await send(message)

    return sending


async def _send(send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    pairs.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
