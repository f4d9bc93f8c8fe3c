"""The chart's test: ask the exporter whether it is ready, and for its metrics.

Certificates are not verified and a refusal for want of a password is an answer: the test has
neither. Arguments: the exporter's URL, the path of its metrics.
"""

import ssl
import sys
import time
import urllib.error
import urllib.request

PATIENCE_SECONDS = 60
REFUSED = (401, 403)


def asked(url: str) -> tuple[int, str]:
    """One GET: status and body."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(url, timeout=5, context=context) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, ""


def wrong(url: str, wanted: str) -> str | None:
    """What is wrong with an answer, or None."""
    try:
        status, body = asked(url)
    except OSError as failure:
        return f"{url}: {failure}"
    if status in REFUSED:
        print(f"{url}: asks for a password or certificate ({status})")
        return None
    if status != 200 or wanted not in body:
        return f"{url}: {status}, and no {wanted} in {len(body)} characters"
    print(f"{url}: {status}, {body.count(chr(10))} lines")
    return None


def main() -> None:
    """Ask until all is well, or time runs out."""
    base, metrics = sys.argv[1:]
    deadline = time.monotonic() + PATIENCE_SECONDS
    for path, wanted in (("/-/ready", "ready"), (metrics, "cgexporter_build_info")):
        while (problem := wrong(base + path, wanted)) and time.monotonic() < deadline:
            time.sleep(1)
        if problem:
            sys.exit(problem)


main()
