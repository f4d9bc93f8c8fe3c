"""The web configuration file: what it may say, and how it is refused."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgexporter.document import ConfigError
from cgexporter.web.config import parse
from cgexporter.web.live import load

HASH = "$2y$04$" + "a" * 53
TLS = "tls_server_config:\n  cert_file: a.crt\n  key_file: sub/a.key\n"


def test_a_whole_file() -> None:
    """Every key of the format is read; names of files are beside the configuration."""
    config = parse(
        "/etc/x/web.yml",
        f"""\
{TLS}  client_ca_file: /ca.crt
  client_auth_type: RequireAndVerifyClientCert
  client_allowed_sans: [prom.example, 10.0.0.1]
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [CurveP384]
http_server_config:
  http2: false
  headers:
    Strict-Transport-Security: max-age=31536000
    X-Frame-Options: deny
basic_auth_users:
  alice: {HASH}
  12: {HASH}
rate_limit: {{interval: 1m30s, burst: 5}}
""".encode(),
    )
    tls = config.tls
    assert tls is not None
    assert tls.files == ("/etc/x/a.crt", "/etc/x/sub/a.key", "/ca.crt")
    assert tls.ciphers == ("ECDHE-RSA-AES256-GCM-SHA384",)
    assert (tls.prefer_server_ciphers, tls.curves) == (False, ("secp384r1",))
    assert tls.allowed_sans == {"prom.example", "10.0.0.1"}
    assert dict(config.users) == {"alice": HASH, "12": HASH}
    assert dict(config.headers)["X-Frame-Options"] == "deny"
    assert config.rate is not None
    assert (config.rate.interval, config.rate.burst) == (90, 5)
    assert config.remarks == ()


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "tls_server_config: {}\n", "basic_auth_users:"]
)
def test_nothing_asked_for(text: str) -> None:
    """An empty file, as the toolkit has it, asks for nothing."""
    config = parse("web.yml", text.encode())
    assert (config.tls, dict(config.users)) == (None, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tls_server_confg: {}\n", "web.yml:1: unknown key 'tls_server_confg'; did you mean 'tls_"),
        (f"{TLS}  keyfile: x\n", "web.yml:4: unknown key 'tls_server_config.keyfile'; did you"),
        (f"{TLS}  cert: x\n", "web.yml:4: tls_server_config.cert: tls_server_config.cert_file is"),
        ("tls_server_config:\n  cert_file: a\n", "web.yml:2: tls_server_config: key_file or key"),
        (f"{TLS}  min_version: TLS11\n", "web.yml:4: tls_server_config.min_version: TLS11 is br"),
        (f"{TLS}  min_version: TLS14\n", "web.yml:4: tls_server_config.min_version: 'TLS14' is n"),
        (f"{TLS}  min_version: TLS13\n  max_version: TLS12\n", "web.yml:4: tls_server_config.min_"),
        (f"{TLS}  client_ca_file: x\n", "web.yml:4: tls_server_config.client_ca_file: needs clie"),
        (f"{TLS}  client_auth_type: RequireAnyClientCert\n", "web.yml:4: tls_server_config.client"),
        (f"{TLS}  client_auth_type: RequireAndVerifyClientCert\n", "web.yml:4: tls_server_config"),
        (f"{TLS}  client_allowed_sans: [x]\n", "web.yml:4: tls_server_config.client_allowed_sans"),
        (f"{TLS}  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]\n", "web.yml:4: tls_server_config.ci"),
        (f"{TLS}  curve_preferences: X25519\n", "web.yml:4: tls_server_config.curve_preferences:"),
        ("http_server_config: {headers: {Server: x}}\n", "web.yml:1: unknown key 'http_server_co"),
        ("http_server_config: {headers: {X-Frame-Options: no}}\n", "web.yml:1: http_server_conf"),
        ('http_server_config: {headers: {X-XSS-Protection: "a\\nb"}}\n', "web.yml:1: http_serve"),
        ("http_server_config: {http2: maybe}\n", "web.yml:1: http_server_config.http2: not true"),
        ("basic_auth_users:\n  bob: secret\n", "web.yml:2: basic_auth_users.bob: not a bcrypt"),
        ("basic_auth_users:\n  bob:\n", "web.yml:2: basic_auth_users.bob: not a bcrypt hash"),
        (f"basic_auth_users:\n  bob: $2y$20${'a' * 53}\n", "web.yml:2: basic_auth_users.bob: a b"),
        (f"basic_auth_users:\n  a: {HASH}\n  a: {HASH}\n", "web.yml:3: basic_auth_users.a: there"),
        ("rate_limit: {interval: fast, burst: 1}\n", "web.yml:1: rate_limit.interval: 'fast' is"),
        ("rate_limit: {interval: 1s}\n", "web.yml:1: rate_limit: burst is missing or 0"),
        ("a: [\n", "web.yml:2: not YAML: "),
        ("- a\n", "web.yml:1: not a mapping of keys to values"),
        ("? [a]\n: b\n", "web.yml:1: keys must be plain words"),
        ("a: 1\n---\nb: 2\n", "web.yml:2: not YAML: "),
        ("\x1b[31m: x\n", "web.yml"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    """What cannot be honoured is refused, with its line and what to do."""
    with pytest.raises(ConfigError) as caught:
        parse("web.yml", text.encode())
    assert str(caught.value).startswith(message)
    assert str(caught.value).isprintable()


def test_a_password_in_the_file_is_not_repeated() -> None:
    """Who writes a password where its hash belongs does not find it in a log."""
    with pytest.raises(ConfigError) as caught:
        parse("web.yml", b"basic_auth_users: {bob: correct-horse}\n")
    assert "correct-horse" not in str(caught.value)


def test_http2_is_said() -> None:
    """HTTP/2, on by default elsewhere, is not spoken; who asks for it is told."""
    (remark,) = parse("web.yml", b"http_server_config: {http2: true}\n").remarks
    assert "HTTP/1.1" in remark


def test_only_tls_13_suites() -> None:
    """A list without a suite of TLS 1.2 leaves TLS 1.3 alone, as in Go."""
    tls = parse("w", f"{TLS}  cipher_suites: [TLS_AES_128_GCM_SHA256]\n".encode()).tls
    assert tls is not None
    assert tls.min_version == "TLS13"


@given(st.binary(max_size=200) | st.text(alphabet="ab:- \n[]{}&*!|>'\"#%@`\t", max_size=60))
def test_any_bytes(content: bytes | str) -> None:
    """Whatever a file holds, it is taken or refused in one printable line."""
    data = content.encode() if isinstance(content, str) else content
    problem = ""
    try:
        parse("web.yml", data)
    except ConfigError as exc:
        problem = str(exc)
    assert problem == "" or problem.isprintable()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is not there, is no file or too large is one line."""
    for path in (tmp_path / "none", tmp_path, Path("/dev/zero")):
        with pytest.raises(ConfigError, match=str(path)):
            load(str(path))
    large = tmp_path / "large"
    large.write_bytes(b"#" * (1 << 21))
    with pytest.raises(ConfigError, match="larger"):
        load(str(large))
    assert stat.S_ISREG(large.stat().st_mode)
