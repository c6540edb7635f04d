"""The settings a host may have, their types, and how a written text becomes a value."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from fleetscan.errors import InventoryError, Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Single = str | int | float | bool
Value = Single | tuple[str, ...]

ENGINES = ("embedded", "osqueryi", "osqueryd", "recorded")
SHELLS = ("auto", "cmd", "powershell", "sh")
DEFAULT_ENGINE = "osqueryi"

TEXTS = ("machine", "osquery_version", "address", "user", "proxy_jump", "osqueryi", "site")
PATHS = ("hives", "identity_file", "certificate_file", "known_hosts", "ssh_config", "recording", "socket")
LISTS = ("hives",)
"""Settings that may be a list: exports of one machine, applied in this order."""
SECONDS = ("timeout", "connect_timeout")
FLAGS = ("agent",)
VARIABLES = ("password_env", "passphrase_env")
CHOICES = {"engine": ENGINES, "shell": SHELLS}
NAMES = (*TEXTS, *PATHS, *SECONDS, *FLAGS, *VARIABLES, *CHOICES, "port")

SECRETS = frozenset({"password", "passphrase", "ssh_pass", "secret", "token", "ssh_password"})
"""Names people try; refused with a hint, so that no secret is ever read from an inventory."""

_REFERENCE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TRUE = frozenset({"true", "yes", "on"})
_FALSE = frozenset({"false", "no", "off"})
_MAX_PORT = 65535
_MAX_SHOWN = 24


def suggestion(word: str, known: Iterable[str]) -> str:
    """The next step for a word nobody knows: the nearest known one, or all of them."""
    known = sorted(set(known))
    close = get_close_matches(word, known, n=1)
    shown = ", ".join(known[:_MAX_SHOWN]) + (", ..." if len(known) > _MAX_SHOWN else "")
    return close[0] if close else f"one of {shown}"


def expand(text: str, environment: Mapping[str, str], where: Place) -> str:
    """``text`` with every ``${NAME}`` and ``${NAME:-default}`` replaced from the environment."""

    def replace(match: re.Match[str]) -> str:
        value = environment.get(match["name"], match["default"])
        if value is None:
            raise InventoryError(
                f"the environment variable {match['name']} is not set", where=where, hint=f"export {match['name']}=..."
            )
        return value

    if "${" in _REFERENCE.sub("", text):
        raise InventoryError(
            f"{text!r} holds ${{ without a name", where=where, hint="${NAME} or ${NAME:-default} of the environment"
        )
    return _REFERENCE.sub(replace, text)


def check_name(name: str, where: Place) -> None:
    """Refuse a setting nobody knows, and any secret."""
    if name in NAMES:
        return
    if name.lower() in SECRETS:
        hint = "passphrase_env: NAME" if "phrase" in name else "password_env: NAME, or a key or an agent"
        raise InventoryError(f"{name!r}: an inventory holds no secrets", where=where, hint=hint)
    raise InventoryError(f"unknown setting {name!r}", where=where, hint=suggestion(name, NAMES))


def value_of(name: str, text: str, *, where: Place, folder: Path) -> Single:
    """The value of setting ``name`` from its text; paths are taken from ``folder``, the inventory's own."""
    if not text:
        raise InventoryError(f"{name} is empty", where=where, hint="give it a value, or leave it out")
    if not text.isprintable():
        raise InventoryError(f"{name} holds a character that is none of a name: {text!a}", where=where)
    if name in PATHS:
        return _path(name, text, folder, where)
    if name in CHOICES:
        if text not in CHOICES[name]:
            raise InventoryError(f"{name}: {text!r} is unknown", where=where, hint=suggestion(text, CHOICES[name]))
        return text
    if name == "port":
        return _port(text, where)
    if name in SECONDS:
        return _seconds(name, text, where)
    if name in FLAGS:
        return _flag(name, text, where)
    if name in VARIABLES and not _VARIABLE.fullmatch(text):
        # The text may be the secret itself, put in the wrong place: it is not repeated here.
        raise InventoryError(f"{name} must be the name of an environment variable", where=where)
    return text


def _path(name: str, text: str, folder: Path, where: Place) -> str:
    if text.startswith("\\\\.\\pipe\\"):
        return text
    try:
        return str(folder / Path(text).expanduser())
    except RuntimeError as error:
        what = f"{name}: {text!r} begins with the home of nobody here"
        raise InventoryError(what, where=where, hint="a whole path, or ~/... for the home of who runs this") from error


def _port(text: str, where: Place) -> int:
    if text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_PORT)) and 1 <= int(text) <= _MAX_PORT:
        return int(text)
    raise InventoryError(f"port must be a number from 1 to {_MAX_PORT}, not {text!r}", where=where)


def _seconds(name: str, text: str, where: Place) -> float:
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) and float(text) > 0:
        return float(text)
    raise InventoryError(f"{name} must be a number of seconds above 0, not {text!r}", where=where)


def _flag(name: str, text: str, where: Place) -> bool:
    word = text.lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise InventoryError(f"{name} must be true or false, not {text!r}", where=where)
