"""TLS, client certificates and passwords, against curl, Prometheus and a TLS scanner."""

import base64
import contextlib
import http.client
import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.conftest import Serve
from tests.integration.processes import Server, cgexporter
from tests.integration.prometheus import Prometheus
from tests.integration.support import eventually, program
from tests.integration.web.site import Site, users
from tests.tools.certificates import Authority

MUTUAL = (
    "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"
    "  client_allowed_sans: [prometheus.example]\n"
)
LOADED = "web configuration loaded again"
KEPT = "the web configuration cannot be used, the old one stays"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site that is only read."""
    program("openssl", "openssl")
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site whose files the test may change."""
    program("openssl", "openssl")
    return Site(tmp_path)


def test_curl_is_let_in(site: Site, serve: Serve) -> None:
    """With certificate and password, and with both only."""
    site.write(MUTUAL, users(alice="wonder"))
    port = serve(site.flag).port
    both = ("--cert", "client.crt", "--key", "client.key", "--user", "alice:wonder")
    status, body, _ = site.curl(port, *both)
    assert status == 200
    assert "cgexporter_scan_success 1" in body
    assert "cgexporter_web_config_last_reload_successful 1" in body
    assert site.curl(port, *both, path="/-/healthy")[0] == 200
    assert site.curl(port, *both[:4])[0] == 401, "no password"
    assert site.curl(port, *both[:4], "--user", "alice:wrong")[0] == 401
    assert site.curl(port, *both[:4], "--user", "bob:wonder")[0] == 401
    assert site.curl(port, *both[:4], path="/-/healthy")[0] == 401, "every path needs it"
    for name in ("stranger", "forged"):
        status, body, code = site.curl(
            port, "--cert", f"{name}.crt", "--key", f"{name}.key", *both[4:]
        )
        assert (status, body) == (0, ""), name
        assert code, name
    status, body, code = site.curl(port, *both[4:])
    assert (status, body, bool(code)) == (0, "", True), "no certificate"
    status, body, _ = site.curl(port, *both)
    counted = {
        name: float(value)
        for name, value in re.findall(r'ended_total\{reason="(\w+)"\} (\S+)', body)
    }
    assert counted == {"tls": 2, "certificate": 1}


def test_a_client_that_trusts_another(made: Site, serve: Serve) -> None:
    """A client that checks our certificate against another authority does not go on."""
    made.write()
    port = serve(made.flag).port
    assert made.curl(port)[0] == 200
    assert made.curl(port, "--cacert", "other.crt") == (0, "", 60)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_old_versions_are_refused(made: Site, serve: Serve, version: str) -> None:
    """Nothing below TLS 1.2 is spoken, whatever the client's library would do."""
    made.write()
    port = serve(made.flag).port
    done = subprocess.run(
        [
            *("openssl", "s_client", "-connect", f"127.0.0.1:{port}"),
            *(f"-tls{version.replace('.', '_').removesuffix('_0')}", "-cipher", "ALL:@SECLEVEL=0"),
        ],
        input=b"",
        capture_output=True,
        check=False,
    )
    assert b"Cipher is (NONE)" in done.stdout
    assert made.curl(port, "--tlsv1.2", "--tls-max", "1.2")[0] == 200
    assert made.curl(port, "--tlsv1.3")[0] == 200


def test_a_scanner_finds_nothing(made: Site, serve: Serve, tmp_path: Path) -> None:
    """sslyze: as Mozilla's "intermediate" wants it, none of the known holes, nothing below 1.2."""
    made.write()
    port = serve(made.flag).port
    report = tmp_path / "report.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sslyze", f"127.0.0.1:{port}", "--json_out", str(report)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    (scanned,) = json.loads(report.read_text())["server_scan_results"]
    found = {name: attempt["result"] for name, attempt in scanned["scan_result"].items()}
    for version in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"):
        assert found[f"{version}_cipher_suites"]["accepted_cipher_suites"] == [], version
    for version in ("tls_1_2", "tls_1_3"):
        assert found[f"{version}_cipher_suites"]["accepted_cipher_suites"], version
    assert not found["heartbleed"]["is_vulnerable_to_heartbleed"]
    assert not found["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"]
    assert not found["tls_compression"]["supports_compression"]
    assert found["robot"]["robot_result"].startswith("NOT_VULNERABLE")
    renegotiation = found["session_renegotiation"]
    assert renegotiation["supports_secure_renegotiation"]
    assert not renegotiation["is_vulnerable_to_client_renegotiation_dos"]


def test_plain_http_to_a_tls_port(made: Site, serve: Serve) -> None:
    """A client that speaks no TLS gets nothing, and the next is served."""
    made.write()
    server = serve(made.flag)
    with socket.create_connection(("127.0.0.1", server.port), 5) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" not in client.recv(65536)
    assert made.curl(server.port)[0] == 200


def test_headers_and_rate(site: Site, serve: Serve) -> None:
    """Configured headers are on each answer, and requests past the rate get 429."""
    site.write(
        "",
        "http_server_config:\n  headers:\n    Strict-Transport-Security: max-age=60\n"
        "    X-Frame-Options: deny\nrate_limit: {interval: 1h, burst: 3}\n",
    )
    port = serve(site.flag).port
    answers = [site.curl(port, "--include", path="/-/healthy") for _ in range(5)]
    assert [status for status, _, _ in answers] == [200, 200, 200, 429, 429]
    for _, text, _ in answers:
        assert "strict-transport-security: max-age=60" in text
        assert "x-frame-options: deny" in text
        assert text.count("x-content-type-options") == 1


def test_inline_certificate(site: Site, serve: Serve) -> None:
    """Certificate, key and authority may stand in the file itself."""

    def indented(name: str) -> str:
        return "".join(f"    {line}\n" for line in (site.directory / name).read_text().splitlines())

    site.file.write_text(
        f"tls_server_config:\n  cert: |\n{indented('server.crt')}  key: |\n"
        f"{indented('server.key')}  client_ca: |\n{indented('ca.crt')}"
        "  client_auth_type: VerifyClientCertIfGiven\n  min_version: TLS13\n"
    )
    port = serve(site.flag).port
    assert site.curl(port)[0] == 200
    assert site.curl(port, "--cert", "client.crt", "--key", "client.key")[0] == 200
    assert site.curl(port, "--cert", "forged.crt", "--key", "forged.key")[0] == 0
    assert site.curl(port, "--tls-max", "1.2")[0] == 0


class Scraper(threading.Thread):
    """Scrapes each 100 ms, on connections of its own or on one that it keeps."""

    def __init__(self, site: Site, port: int, password: str, keep: bool) -> None:
        super().__init__(daemon=True)
        self._context = ssl.create_default_context(cafile=site.authority.certificate)
        self._port = port
        self._keep = keep
        self.password = password
        self.statuses: list[int | str] = []
        self.stop = threading.Event()

    def _headers(self) -> Mapping[str, str]:
        token = base64.b64encode(f"alice:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {token}"}

    def run(self) -> None:
        """Scrape until told to stop."""
        connection = None
        while not self.stop.wait(0.1):
            if connection is None:
                connection = http.client.HTTPSConnection(
                    "localhost", self._port, context=self._context, timeout=20
                )
            try:
                connection.request("GET", "/metrics", headers=self._headers())
                answer = connection.getresponse()
                answer.read()
                self.statuses.append(answer.status)
            except OSError as exc:
                self.statuses.append(repr(exc))
                connection.close()
                connection = None
                continue
            if not self._keep:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def wait_for(self, count: int) -> None:
        """Wait for so many answers in all."""
        eventually(lambda: len(self.statuses) >= count, f"{count} answers")


@pytest.mark.parametrize("keep", [False, True])
def test_reload_loses_no_scrape(site: Site, serve: Serve, keep: bool) -> None:
    """New certificates, users and nonsense in turn, under a scrape each 100 ms: all answered."""
    both = users(alice="wonder", bob="b")
    site.write("", both)
    server = serve(site.flag)
    scraper = Scraper(site, server.port, "wonder", keep)
    scraper.start()
    for turn in range(6):
        scraper.wait_for(3 * (turn + 1))
        match turn % 3:
            case 0:  # a new certificate; for a moment it is not that of the key
                site.authority.issue("server")
            case 1:
                site.write("", f"{both}  carol{turn}: $2y$05${'a' * 53}\n")
            case 2:
                site.file.write_text("tls_server_config: [\n")
                eventually(lambda: KEPT in server.log, "a bad file to be noticed")
                site.write("", both)
    scraper.wait_for(21)
    scraper.stop.set()
    scraper.join()
    assert len(scraper.statuses) >= 15
    assert set(scraper.statuses) == {200}
    assert server.log.count(LOADED) >= 4


def test_a_bad_file_keeps_the_old(site: Site, serve: Serve) -> None:
    """Log and metric say so, once; put right, both say that too."""
    site.write("", users(alice="wonder"))
    server = serve(site.flag)
    login = ("--user", "alice:wonder")
    metric = "cgexporter_web_config_last_reload_successful"
    assert f"{metric} 1" in site.curl(server.port, *login)[1]
    site.write("  min_version: TLS10\n", users(alice="wonder"))
    for _ in range(3):
        status, body, _ = site.curl(server.port, *login)
        assert status == 200
        assert f"{metric} 0" in body
    (line,) = [line for line in server.log.splitlines() if KEPT in line]
    assert "web.yml:4: tls_server_config.min_version: TLS10 is broken" in line
    assert "level=error" in line
    site.write("", users(alice="other"))
    assert site.curl(server.port, *login)[0] == 401
    status, body, _ = site.curl(server.port, "--user", "alice:other")
    assert (status, f"{metric} 1" in body) == (200, True)
    (site.directory / "server.key").unlink()
    assert f"{metric} 0" in site.curl(server.port, "--user", "alice:other")[1]
    site.authority.issue("server")
    assert f"{metric} 1" in site.curl(server.port, "--user", "alice:other")[1]
    assert "wonder" not in server.log
    assert "$2y$" not in server.log


def test_what_is_missing_may_come(site: Site, serve: Serve) -> None:
    """A configuration whose certificate comes later is taken when it comes."""
    site.write()
    server = serve(site.flag)
    text = site.file.read_text().replace("server.", "late.")
    site.file.write_text(text)
    assert site.curl(server.port)[0] == 200
    assert "late.crt" in server.log
    time.sleep(0.1)
    site.authority.issue("late")
    eventually(lambda: site.curl(server.port)[0] == 200 and LOADED in server.log, "the certificate")


def test_stricter_rules_end_old_connections(site: Site, serve: Serve) -> None:
    """Who was let in without a certificate is not served once one is asked for."""
    site.write()
    server = serve(site.flag)
    context = ssl.create_default_context(cafile=site.authority.certificate)
    old = http.client.HTTPSConnection("localhost", server.port, context=context, timeout=20)
    old.request("GET", "/-/healthy")
    assert old.getresponse().read() == b"healthy\n"
    site.write(MUTUAL)
    old.request("GET", "/-/healthy")
    with pytest.raises(ConnectionError):
        old.getresponse()
    old.close()
    good = ("--cert", "client.crt", "--key", "client.key")
    assert site.curl(server.port, *good)[0] == 200


def test_every_user_may_read_the_key(site: Site, serve: Serve) -> None:
    """A key that every user of the host may read is warned of."""
    (site.directory / "server.key").chmod(0o644)
    site.write("", "http_server_config: {http2: true}\n")
    server = serve(site.flag)
    assert "server.key: every user of this host may read this key" in server.log
    assert "http2 is not spoken here" in server.log


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        ("key", "server.crt: the certificate is not that of the key"),
        ("encrypted", "server.key: the key is encrypted"),
        ("junk", "server.crt: no certificate or key in PEM form"),
        ("none", "server.crt: No such file"),
        ("ca", "ca.crt: client_ca: no certificate"),
        ("curves", "curve_preferences: Python before 3.15"),
        ("yaml", "web.yml:4: unknown key"),
    ],
)
def test_a_bad_start(site: Site, spoil: str, problem: str) -> None:
    """What cannot be used from the start ends the program with one line and status 2."""
    tls, key = "", site.directory / "server.key"
    match spoil:
        case "key":
            key.write_bytes((site.directory / "client.key").read_bytes())
        case "encrypted":
            subprocess.run(
                ["openssl", "ec", "-in", key, "-aes256", "-passout", "pass:x", "-out", key],
                check=True,
                capture_output=True,
            )
        case "junk":
            (site.directory / "server.crt").write_text("junk")
        case "none":
            (site.directory / "server.crt").unlink()
        case "ca":
            (site.directory / "ca.crt").write_text("")
            tls = MUTUAL
        case "curves":
            if sys.version_info >= (3, 15):
                pytest.skip("this Python can set several curves")
            tls = "  curve_preferences: [X25519, CurveP256]\n"
        case "yaml":
            tls = "  certfile: x\n"
    site.write(tls)
    done = cgexporter("--web.listen-address=127.0.0.1:0", site.flag)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("cgexporter: ")
    assert problem in line
    checked = cgexporter("check-config", site.flag)
    assert checked.returncode == 1
    assert problem in checked.stderr


class SecurePrometheus(Prometheus):
    """Scrapes with the settings that the site asks for."""

    site: Site
    password: str

    def __init__(self, site: Site, directory: Path, target: int, password: str) -> None:
        self.site, self.password = site, password
        super().__init__(program("prometheus", "prometheus"), directory, target)

    def configuration(self, target: int) -> str:
        """Its prometheus.yml."""
        there = self.site.directory
        return (
            "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n"
            "- job_name: cgexporter\n  scheme: https\n"
            f"  basic_auth: {{username: alice, password: {self.password}}}\n"
            f"  tls_config: {{ca_file: {there}/ca.crt, cert_file: {there}/client.crt, "
            f"key_file: {there}/client.key}}\n"
            f"  static_configs: [{{targets: ['localhost:{target}']}}]\n"
        )


@pytest.mark.parametrize("password", ["wonder", "wrong"])
def test_prometheus(site: Site, serve: Serve, tmp_path: Path, password: str) -> None:
    """A real Prometheus scrapes with certificate and password, and with a wrong one fails."""
    site.write(MUTUAL, users(alice="wonder"))
    server: Server = serve(site.flag)
    (tmp_path / "prometheus").mkdir()
    prometheus = SecurePrometheus(site, tmp_path / "prometheus", server.port, password)
    try:
        prometheus.wait_until_ready()
        if password == "wonder":
            eventually(lambda: prometheus.query("up == 1"), "up == 1")
            assert prometheus.target()["lastError"] == ""
            site.authority.issue("server")
            metric = "cgexporter_web_config_last_reload_success_timestamp_seconds"
            eventually(
                lambda: prometheus.query(f"changes({metric}[1m]) > 0"), "a scrape after a reload"
            )
            assert prometheus.query("min_over_time(up[1m]) == 1")
        else:
            eventually(lambda: prometheus.query("up == 0"), "up == 0")
            eventually(lambda: "401" in prometheus.target()["lastError"], "a refusal")
    finally:
        prometheus.stop()


def test_idle_clients_cost_little(made: Site, serve: Serve) -> None:
    """300 idle connections over TLS cost less than 40 MiB, and a newcomer is served."""
    made.write()
    server = serve(made.flag)
    assert made.curl(server.port)[0] == 200
    context = ssl.create_default_context(cafile=made.authority.certificate)

    def resident_kib() -> int:
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    before = resident_kib()
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            plain = socket.create_connection(("127.0.0.1", server.port), 30)
            client = stack.enter_context(context.wrap_socket(plain, server_hostname="localhost"))
            client.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
        assert resident_kib() - before < 40 * 1024
        assert made.curl(server.port)[0] == 200


def test_authorities_differ(made: Site) -> None:
    """The forged certificate of these tests is forged: another authority made it."""
    assert isinstance(made.authority, Authority)
    done = subprocess.run(
        ["openssl", "verify", "-CAfile", "ca.crt", "forged.crt"],
        cwd=made.directory,
        capture_output=True,
        check=False,
    )
    assert done.returncode != 0
