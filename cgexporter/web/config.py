"""The web configuration file, in the format of Prometheus' exporter-toolkit.

Source: prometheus/exporter-toolkit, docs/web-configuration.md and web/tls_config.go. What cannot
be honoured is refused, so that no file protects less than its words say.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cgexporter import durations
from cgexporter.document import Value, load, suggestion

# Headers that may be set, and the values of those that have few.
_HEADERS: Mapping[str, tuple[str, ...]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}
_VERSIONS = ("TLS12", "TLS13")
# Go's words: whether a client must show a certificate. The others ask for one and believe it.
_CLIENT_AUTH = ("NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
_UNVERIFIED = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")
# Go's names → OpenSSL's. Source: crypto/tls, CipherSuites(); RFC 5289, RFC 7905.
_CIPHERS: Mapping[str, str] = {
    f"TLS_ECDHE_{key}_WITH_{theirs}": f"ECDHE-{key}-{ours}"
    for key in ("ECDSA", "RSA")
    for theirs, ours in {
        "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
        "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
        "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
        "CHACHA20_POLY1305": "CHACHA20-POLY1305",
        "AES_128_CBC_SHA": "AES128-SHA",
        "AES_256_CBC_SHA": "AES256-SHA",
    }.items()
}
# TLS 1.3 has these, and no program may choose among them.
_CIPHERS_13 = (
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
)
_CURVES: Mapping[str, str] = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
# 2^16 rounds take seconds: what costs more would time out each first scrape.
_MAX_COST = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How to speak TLS. Of each pair of file and text one is empty.

    Attributes:
        ciphers: OpenSSL's names for TLS 1.2, in order; empty for our own choice.
        curves: OpenSSL's names, in order; empty for OpenSSL's choice.
        min_version, max_version: "TLS12" or "TLS13".
        allowed_sans: a client's certificate must have one of these; empty for any.
    """

    cert_file: str = ""
    cert: str = ""
    key_file: str = ""
    key: str = field(default="", repr=False)
    client_ca_file: str = ""
    client_ca: str = ""
    client_auth: str = "NoClientCert"
    allowed_sans: frozenset[str] = frozenset()
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    ciphers: tuple[str, ...] = ()
    prefer_server_ciphers: bool = True
    curves: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """What to read besides the configuration itself."""
        return tuple(filter(None, (self.cert_file, self.key_file, self.client_ca_file)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How often requests are answered: `burst` at once, then one each `interval` seconds."""

    interval: float
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """One web configuration.

    Attributes:
        tls: None for plain HTTP.
        users: names, and bcrypt hashes of passwords; empty where anybody may ask.
        headers: set on each answer.
        rate: None for no limit.
        remarks: what is honoured otherwise than one may think; for the log.
    """

    tls: Tls | None = None
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    rate: Rate | None = None
    remarks: tuple[str, ...] = ()


def parse(path: str, content: bytes) -> WebConfig:
    """Read a web configuration file.

    Args:
        path: its name; relative names of files in it are beside it.
        content: the file.

    Raises:
        ConfigError: a key or value is unknown, or cannot be honoured.
    """
    keys = load(path, content).keys(
        ("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit")
    )
    remarks: list[str] = []
    tls = None
    if "tls_server_config" in keys:
        tls = _tls(keys["tls_server_config"], os.path.dirname(path), remarks)
    headers: tuple[tuple[str, str], ...] = ()
    if "http_server_config" in keys:
        headers = _http(keys["http_server_config"], remarks)
    return WebConfig(
        tls=tls,
        users=_users(keys["basic_auth_users"]) if "basic_auth_users" in keys else {},
        headers=headers,
        rate=_rate(keys["rate_limit"]) if "rate_limit" in keys else None,
        remarks=tuple(remarks),
    )


def _word(value: Value, known: tuple[str, ...]) -> str:
    text = value.text()
    if text not in known:
        raise value.error(f"{text!r} is not one of {', '.join(known)}{suggestion(text, known)}")
    return text


def _pem(keys: Mapping[str, Value], name: str, directory: str) -> tuple[str, str]:
    """A file's name and an inline text, of which one is empty."""
    file, text = keys.get(f"{name}_file"), keys.get(name)
    if file is not None and text is not None:
        raise text.error(f"{file.name} is there as well; one of them is to go")
    if file is not None:
        return os.path.join(directory, file.text()), ""
    return "", text.text() if text is not None else ""


_TLS_KEYS = (
    *("cert", "cert_file", "key", "key_file", "client_ca", "client_ca_file"),
    *("client_auth_type", "client_allowed_sans", "min_version", "max_version"),
    *("cipher_suites", "prefer_server_cipher_suites", "curve_preferences"),
)


def _tls(value: Value, directory: str, remarks: list[str]) -> Tls | None:
    keys = value.keys(_TLS_KEYS)
    if not keys:
        return None
    cert_file, cert = _pem(keys, "cert", directory)
    key_file, key = _pem(keys, "key", directory)
    for name, found in (("cert", cert_file or cert), ("key", key_file or key)):
        if not found:
            raise value.error(f"{name}_file or {name} is missing")
    ca_file, ca = _pem(keys, "client_ca", directory)
    client_auth = _client_auth(keys, has_ca=bool(ca_file or ca))
    sans: frozenset[str] = frozenset()
    if "client_allowed_sans" in keys:
        sans = frozenset(item.text() for item in keys["client_allowed_sans"].items())
        if client_auth == "NoClientCert":
            raise keys["client_allowed_sans"].error("clients are not asked for a certificate")
    lowest, highest = (
        _version(keys[name]) if name in keys else default
        for name, default in (("min_version", "TLS12"), ("max_version", "TLS13"))
    )
    if lowest > highest:
        raise keys.get("min_version", keys.get("max_version", value)).error(
            "min_version is above max_version"
        )
    ciphers: tuple[str, ...] = ()
    if "cipher_suites" in keys:
        ciphers, only_13 = _ciphers(keys["cipher_suites"])
        if only_13:
            if highest == "TLS12":
                raise keys["cipher_suites"].error("none of these is of TLS 1.2")
            lowest = "TLS13"
            remarks.append("cipher_suites has none of TLS 1.2: only TLS 1.3 is spoken")
    return Tls(
        cert_file=cert_file,
        cert=cert,
        key_file=key_file,
        key=key,
        client_ca_file=ca_file,
        client_ca=ca,
        client_auth=client_auth,
        allowed_sans=sans,
        min_version=lowest,
        max_version=highest,
        ciphers=ciphers,
        prefer_server_ciphers="prefer_server_cipher_suites" not in keys
        or keys["prefer_server_cipher_suites"].boolean(),
        curves=_curves(keys["curve_preferences"]) if "curve_preferences" in keys else (),
    )


def _client_auth(keys: Mapping[str, Value], has_ca: bool) -> str:
    value = keys.get("client_auth_type")
    if value is None or value.text() == "NoClientCert":
        if has_ca:
            ca = keys.get("client_ca_file") or keys["client_ca"]
            raise ca.error("needs client_auth_type, such as RequireAndVerifyClientCert")
        return "NoClientCert"
    if value.text() in _UNVERIFIED:
        raise value.error(
            f"{value.text()} verifies no certificate, so it protects nothing; "
            "use RequireAndVerifyClientCert"
        )
    word = _word(value, _CLIENT_AUTH)
    if not has_ca:
        raise value.error(f"{word} needs client_ca_file or client_ca")
    return word


def _version(value: Value) -> str:
    if value.text() in ("TLS10", "TLS11"):
        raise value.error(f"{value.text()} is broken and not spoken; the least is TLS12")
    return _word(value, _VERSIONS)


def _ciphers(value: Value) -> tuple[tuple[str, ...], bool]:
    """OpenSSL's names of those of TLS 1.2, and whether there are only others."""
    words = [_word(item, (*_CIPHERS, *_CIPHERS_13)) for item in value.items()]
    ours = tuple(dict.fromkeys(_CIPHERS[word] for word in words if word in _CIPHERS))
    return ours, bool(words) and not ours


def _curves(value: Value) -> tuple[str, ...]:
    words = [_word(item, tuple(_CURVES)) for item in value.items()]
    return tuple(dict.fromkeys(_CURVES[word] for word in words))


def _http(value: Value, remarks: list[str]) -> tuple[tuple[str, str], ...]:
    keys = value.keys(("http2", "headers"))
    if "http2" in keys and keys["http2"].boolean():
        remarks.append("http2 is not spoken here; clients are served HTTP/1.1")
    if "headers" not in keys:
        return ()
    headers = []
    for name, header in keys["headers"].keys(_HEADERS).items():
        text = header.text()
        if not text.isascii() or not text.isprintable() or text != text.strip():
            raise header.error("a header is one line of printable ASCII")
        allowed = _HEADERS[name]
        if text and allowed and text not in allowed:
            raise header.error(f"{text!r} is not one of {', '.join(allowed)}")
        if text:
            headers.append((name, text))
    return tuple(headers)


def _users(value: Value) -> Mapping[str, str]:
    users = {}
    for name, entry in () if value.is_null else value.entries():
        if ":" in name:
            raise entry.error("a user's name cannot have a colon: basic authentication ends it so")
        # Never the text: who types a password here must not find it in a log.
        found = None if entry.is_null else _BCRYPT.fullmatch(entry.text())
        if found is None:
            raise entry.error("not a bcrypt hash; print one with: htpasswd -nBC 10 ''")
        if not 4 <= int(found[1]) <= _MAX_COST:
            raise entry.error(f"a bcrypt cost of {int(found[1])}, not 4 to {_MAX_COST}")
        users[name] = entry.text()
    return users


def _rate(value: Value) -> Rate | None:
    keys = value.keys(("interval", "burst"))
    interval = 0.0
    if "interval" in keys:
        try:
            interval = durations.seconds(keys["interval"].text())
        except ValueError as exc:
            raise keys["interval"].error(str(exc)) from None
    burst = keys["burst"].integer() if "burst" in keys else 0
    if not interval:
        return None
    if not burst:
        raise value.error("burst is missing or 0, so no request would ever be answered")
    return Rate(interval=interval, burst=burst)
