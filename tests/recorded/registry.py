"""The two registries of the recording: one for everybody, one that wants a password.

As much of the protocol as resolves tags and tries credentials: lists of manifests, which are all
that is asked for, since nothing is fetched.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
PORTS = (5000, 5001)
"""Of the open one, and of the one for user ``u`` with password ``p``."""

TAGS = ("busybox:latest", "busybox:v2", "acme/my_image:latest")
PASSWORD = "Basic " + base64.b64encode(b"u:p").decode()


class Registries:
    """Both of them, on an address of their own until they are closed."""

    def __init__(self, host: str) -> None:
        self.editions: dict[str, int] = dict.fromkeys(TAGS, 1)
        self._servers = [ThreadingHTTPServer((host, port), _handler(self)) for port in PORTS]
        for server in self._servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def move_tag(self, name: str) -> None:
        """The tag stands for another image from now on."""
        self.editions[name] += 1

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


def _handler(registries: Registries) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, port, *_ = self.server.server_address
            if port == PORTS[1] and self.headers.get("Authorization") != PASSWORD:
                self._answer(401, _refusal("no basic auth credentials"), Basic='realm="registry"')
                return
            path, _, tag = self.path.removeprefix("/v2/").partition("/manifests/")
            if not path:
                self._answer(200, b"{}")
            elif (edition := registries.editions.get(f"{path}:{tag}")) is None:
                self._answer(404, _refusal("manifest unknown"))
            else:
                self._answer(200, manifests(f"{path}:{tag}", edition), LIST)

        def _answer(
            self, status: int, body: bytes, kind: str = "application/json", **challenge: str
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for scheme, parameters in challenge.items():
                self.send_header("WWW-Authenticate", f"{scheme} {parameters}")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the output is the replay's."""

    return Handler


def manifests(name: str, edition: int) -> bytes:
    """The list of manifests that a tag stands for."""
    digest = hashlib.sha256(f"{name} {edition}".encode()).hexdigest()
    platform = {"architecture": "amd64", "os": "linux"}
    entry = {"digest": f"sha256:{digest}", "size": 1, "platform": platform}
    return json.dumps({"schemaVersion": 2, "mediaType": LIST, "manifests": [entry]}).encode()


def _refusal(text: str) -> bytes:
    return json.dumps({"errors": [{"code": "REFUSED", "message": text}]}).encode()
