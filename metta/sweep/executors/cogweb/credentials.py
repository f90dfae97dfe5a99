"""Which server and which token: from the argument, the environment, or `~/.metta/config.yaml`.

observatory_tokens:
  https://cogweb.example.org: "the token"
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from metta.sweep.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from pydantic import SecretStr

SERVER_VARIABLE: Final = "COGWEB_SERVER"
TOKEN_VARIABLE: Final = "COGWEB_TOKEN"
CONFIG_KEY: Final = "observatory_tokens"


def config_path() -> Path:
    """The user's configuration file."""
    return Path.home() / ".metta" / "config.yaml"


def find_server(server: str | None, environment: Mapping[str, str]) -> str:
    """The server's address without a slash at its end: the argument, else the variable COGWEB_SERVER.

    Raises:
        UsageError: none is given, or it is no http(s) address. Names and passwords do not belong into it.
    """
    found = server if server is not None else environment.get(SERVER_VARIABLE)
    if not found:
        raise UsageError(f"no Cogweb server is given: pass server= or set the environment variable {SERVER_VARIABLE}")
    try:
        parts = urlsplit(found)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or not found.isprintable() or " " in found:
        raise UsageError(f'server={found!r}: expected an address such as "https://cogweb.example.org"')
    if parts.username is not None:
        raise UsageError("server=...: the address holds a user name; the token is all that Cogweb asks for")
    return found.rstrip("/")


def find_token(server: str, token: str | SecretStr | None, environment: Mapping[str, str], config: Path) -> str:
    """The token for a server: the argument, else the variable COGWEB_TOKEN, else its entry in the configuration file.

    Args:
        server: as `find_server` returns it.
        token: the argument.
        environment: where the variable is looked up.
        config: the configuration file; it need not exist.

    Raises:
        UsageError: there is none, or it cannot be sent in a header. No message shows it.
        MissingExtraError: the file is needed, and PyYAML is not installed.
    """
    source, found = "token=", None if token is None else _text_in(token)
    if found is None:
        source, found = TOKEN_VARIABLE, environment.get(TOKEN_VARIABLE) or None
    if found is None:
        source, found = str(config), _configured(server, config)
    if not found or not found.isascii() or not found.isprintable() or found != found.strip():
        raise UsageError(f"the token for {server} from {source} is empty, or has characters that no header can carry")
    return found


def _text_in(token: object) -> str:
    text = getattr(token, "get_secret_value", lambda: token)()
    if not isinstance(text, str):  # a command line that took it for a number, say
        raise UsageError(f"token=...: expected text or a SecretStr, found {type(text).__name__}")
    return text


def _configured(server: str, config: Path) -> str:
    tokens = _tokens(config)
    for address, token in tokens.items():
        if str(address).rstrip("/") == server:
            return str(token)
    near = get_close_matches(server, [str(address) for address in tokens], n=1)
    hint = f" (there is one for {near[0]})" if near else ""
    raise UsageError(
        f"no token for {server}: pass token=, set the environment variable {TOKEN_VARIABLE}, or add the server to "
        f"`{CONFIG_KEY}` in {config}{hint}"
    )


def _tokens(config: Path) -> Mapping[Any, Any]:
    try:
        text = config.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {config}: {error}") from None
    try:
        yaml: Any = import_module("yaml")  # it has no types of its own
    except ImportError:
        raise MissingExtraError(f"reading {config}", "cogweb") from None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:  # its message quotes the file, which holds tokens
        raise UsageError(f"{config} is no valid YAML") from None
    tokens = content.get(CONFIG_KEY) if isinstance(content, dict) else None
    if tokens is not None and not isinstance(tokens, dict):
        raise UsageError(f"{config}: expected `{CONFIG_KEY}` to map servers to tokens")
    return tokens or {}
