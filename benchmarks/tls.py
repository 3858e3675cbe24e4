"""What certificates cost: handshakes of mutual TLS 1.3, and what a manager signs.

A handshake here is whole: both sides in one process, certificates of a swarm's root on both sides
and checked on both, no resumption. The rows *during a rotation* have the cross-signed certificate
in each chain.

    python benchmarks/tls.py [--seconds 2] [--json]
"""

from __future__ import annotations

import argparse
import json
import ssl
from collections.abc import Callable
from functools import partial
from time import perf_counter, time
from typing import Any

from pyswarm.ca import Identity, NodeCertificate, RootCA, create_csr, create_key
from pyswarm.ca.authority import decided, first_state, signer
from pyswarm.model import Role
from pyswarm.runtime.tls import Credentials

MANAGER = Identity("manager00000000000000000", Role.MANAGER, "swarm00000000000000000000")
WORKER = Identity("worker000000000000000000", Role.WORKER, "swarm00000000000000000000")


def credentials(root: RootCA, identity: Identity, trusted: bytes) -> Credentials:
    """A node's, as a manager would sign it."""
    key = create_key()
    return Credentials(key, root.sign(create_csr(key), identity, time()), trusted)


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> bytes:
    """One connection, in memory; what the client's certificate says to the server."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(down, up)
    there = server.wrap_bio(up, down, server_side=True)
    waiting = [here, there]
    while waiting:
        for side in tuple(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                pass
    there_sees = there.getpeercert(binary_form=True)
    assert there_sees and here.version() == there.version() == "TLSv1.3"
    return there_sees


def rate(job: Callable[[], object], seconds: float) -> float:
    """How often a second."""
    job()
    count, begin = 0, perf_counter()
    while (spent := perf_counter() - begin) < seconds:
        job()
        count += 1
    return count / spent


def measure(seconds: float) -> list[dict[str, Any]]:
    """All rows."""
    root = RootCA.create(time())
    rotating = signer(decided(first_state(root), force=True, now=time()))
    rows: list[dict[str, Any]] = []

    def row(what: str, value: float, workload: str) -> None:
        rows.append({"what": what, "value": round(value, 1), "unit": "1/s", "workload": workload})

    for name, authority in (("", root), (", during a rotation", rotating)):
        server = credentials(authority, MANAGER, root.cert_pem).server_context()
        client = credentials(authority, WORKER, root.cert_pem).client_context()
        both = "mutual TLS 1.3, P-256, both sides in one process"
        row(f"handshakes{name}", rate(partial(handshake, server, client), seconds), both)
    csr = create_csr(create_key())
    chain = root.sign(csr, WORKER, time())
    row("signatures", rate(lambda: root.sign(csr, WORKER, time()), seconds), "of one request")
    row("checks", rate(lambda: root.verify(chain, time()), seconds), "of one certificate")
    row("readings", rate(lambda: NodeCertificate.parse(chain), seconds), "of one certificate")
    row(
        "joiners",
        rate(lambda: create_csr(create_key()), seconds),
        "a new key and the request for its certificate",
    )
    return rows


def main() -> None:
    """Measure and say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each row")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = measure(options.seconds)
    if not options.json:
        for row in rows:
            print(f"{row['what']:32} {row['value']:>10} {row['unit']}  {row['workload']}")
    print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
