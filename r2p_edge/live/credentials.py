"""Users and passwords of sources, which stand in a file or the environment and not in addresses."""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from r2p_edge.errors import UsageError
from r2p_edge.live.options import check_known
from r2p_edge.live.settings import read_settings
from r2p_edge.private_files import warn_of_readers

LOGIN_VARIABLE, WEBHOOK_VARIABLE, MQTT_VARIABLE = (
    "R2P_CREDENTIALS",
    "R2P_WEBHOOK_SECRET",
    "R2P_MQTT_CREDENTIALS",
)
SECRET_VARIABLES = (LOGIN_VARIABLE, WEBHOOK_VARIABLE, MQTT_VARIABLE)
"""Variables of the environment: USER:PASSWORD of the sources, and of the MQTT broker."""

_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?:[^/?#]*@)?(?P<rest>.*)", re.I | re.S)


class Login(NamedTuple):
    """A user and a password, which the `repr` does not show."""

    user: str
    password: str

    def __repr__(self) -> str:
        return "Login(***)"


class Credentials(NamedTuple):
    """Secrets of a stream or a watch; their `repr` shows nothing of them.

    Attributes:
        default: of the sources that have none of their own.
        sources: by the name of the source.
        webhook: secret by which webhooks are signed.
        webhook_url: address of the webhook, where that is a secret.
        mqtt: of the MQTT broker.
    """

    default: Login | None = None
    sources: Mapping[str, Login] = {}
    webhook: str | None = None
    webhook_url: str | None = None
    mqtt: Login | None = None

    def __repr__(self) -> str:
        return "Credentials(***)"

    def applied(self, name: str | None, source: int | str | Path) -> int | str | Path:
        """Return a source with the user and the password that belong to it.

        An address that has them gets others in their place; GStreamer's `rtspsrc` gets them as
        properties. Without any for this source it stays as it is, and so does what has no address
        where they are those of all.

        Args:
            name: name of the source; None if it has none.
            source: see `Predictor.stream`.

        Raises:
            UsageError: there are some for this source, and it is no address.
        """
        own = self.sources.get(name) if name is not None else None
        login = own or self.default
        if login is None:
            return source
        text = str(source)
        if (address := _ADDRESS.fullmatch(text)) is not None:
            user, password = (urllib.parse.quote(each, safe="") for each in login)
            return f"{address['scheme']}{user}:{password}@{address['rest']}"
        if " ! " in text and re.search(r"\brtspsrc\b", text):
            user, password = map(_quoted, login)
            properties = f"rtspsrc user-id={user} user-pw={password}"
            return re.sub(r"\brtspsrc\b", lambda _: properties, text, count=1)
        if own is not None:
            raise UsageError(
                f"there is a password for {name}, which is no address and no rtspsrc; leave it out"
            )
        return source


def read_credentials(
    path: str | Path | None = None,
    *,
    names: tuple[str, ...] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Credentials:
    """Return the secrets of a file, and those of the environment that it does not have.

    Args:
        path: TOML or YAML with `user` and `password` of all sources, and tables `sources.NAME`
            and `mqtt` with their own, and `webhook` with `secret` and `url`; None for no file.
        names: the sources that there are; None if they have no names.
        environment: has `R2P_CREDENTIALS` and `R2P_MQTT_CREDENTIALS`, USER:PASSWORD each, and
            `R2P_WEBHOOK_SECRET`.

    Raises:
        UsageError: the file cannot be read, or has something else in it; no secret is repeated.
    """
    data: dict[str, Any] = {}
    if path is not None:
        data = read_settings(path)
        warn_of_readers("the credentials", path)
    where = f"the credentials {path}"
    check_known(where, data, ("user", "password", "sources", "webhook", "mqtt"), "keys")
    tables = {key: _table(data, key, where) for key in ("sources", "webhook", "mqtt")}
    if names is None and tables["sources"]:
        raise UsageError(
            f"{where} name sources, and this one has no name; write user and password above the "
            "tables"
        )
    if names is not None:
        check_known(f"{where}, sources", tables["sources"], names, "sources")
    check_known(f"{where}, webhook", tables["webhook"], ("secret", "url"), "keys")
    logins = {}
    for name in tables["sources"]:
        logins[name] = _login(_table(tables["sources"], name, where), f"{where}, {name}")
    default: dict[str, Any] = {key: data[key] for key in ("user", "password") if key in data}
    return Credentials(
        _login(default, where) if default else _login_of(environment, LOGIN_VARIABLE),
        logins,
        _text(tables["webhook"], "secret", where) or environment.get(WEBHOOK_VARIABLE) or None,
        _text(tables["webhook"], "url", where),
        _login(tables["mqtt"], f"{where}, mqtt")
        if tables["mqtt"]
        else _login_of(environment, MQTT_VARIABLE),
    )


def _table(data: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    table = data.get(key, {})
    if not isinstance(table, dict):
        raise UsageError(f"{where}: {key} is no table; write it as [{key}] with its keys below")
    return table


def _login(table: Mapping[str, Any], where: str) -> Login:
    check_known(where, table, ("user", "password"), "keys")
    user, password = (_text(table, key, where) for key in ("user", "password"))
    if user is None or password is None:
        raise UsageError(f"{where}: there must be a user and a password; write both")
    return Login(user, password)


def _text(table: Mapping[str, Any], key: str, where: str) -> str | None:
    value = table.get(key)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{where}: {key} is no text; write it in quotes")
    return value


def _login_of(environment: Mapping[str, str], variable: str) -> Login | None:
    text = environment.get(variable)
    if not text:
        return None
    user, colon, password = text.partition(":")
    if not colon:
        raise UsageError(f"{variable} has no colon; set it to USER:PASSWORD")
    return Login(user, password)


def _quoted(text: str) -> str:
    """Return a text as a property of a GStreamer pipeline."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
