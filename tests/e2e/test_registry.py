"""A real registry on loopback: tags become digests, tokens are fetched, secrets stay sealed.

Debian's ``docker-registry`` is needed; without it the tests are skipped. One of them has the
registry ask for tokens, which a small server here gives to whoever knows the password.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from base64 import b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from pyswarm.agent import TaskContext
from pyswarm.api.messages import Response
from pyswarm.errors import NotFound, Unauthenticated, Unavailable
from pyswarm.model import ContainerSpec, Platform, ServiceSpec, TaskSpec
from pyswarm.model.auth import MARK, sealed_auth
from pyswarm.model.images import ImageReference
from pyswarm.runtime.engine import Engine
from pyswarm.runtime.executors import CallableExecutor
from pyswarm.runtime.registry import Credentials, RegistryClient
from pyswarm.runtime.registry.http import fetch
from swarms import WAIT_S, free_ports, one_node, until

REGISTRY = shutil.which("docker-registry") or ""
pytestmark = pytest.mark.skipif(not REGISTRY, reason="Debian's docker-registry is not installed")

SINGLE = "application/vnd.docker.distribution.manifest.v2+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


@asynccontextmanager
async def registry(directory: Path, auth: str = "") -> AsyncIterator[str]:
    """Its address, while it runs."""
    port = free_ports(1)[0]
    config = directory / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: "
        f"{directory / 'data'}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n{auth}"
    )
    process = subprocess.Popen(
        [REGISTRY, "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        await until(lambda: answers(port))
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


async def answers(port: int) -> bool:
    try:
        await fetch(f"http://127.0.0.1:{port}/v2/", may_be_plain=True)
    except Unavailable:
        return False
    return True


async def push(
    host: str, path: str, tag: str, content: str, headers: dict[str, str] | None = None
) -> str:
    """Put an image there that is told from others by its config; its digest."""
    base, own = f"http://{host}/v2/{path}", headers or {}
    blob = json.dumps({"architecture": "amd64", "os": "linux", "content": content}).encode()
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    begun = await fetch(f"{base}/blobs/uploads/", method="POST", headers=own, may_be_plain=True)
    assert begun.status == 202, begun
    place = begun.headers["location"]
    place += ("&" if "?" in place else "?") + f"digest={digest}"
    kind = {"Content-Type": "application/octet-stream", **own}
    done = await fetch(place, method="PUT", headers=kind, body=blob, may_be_plain=True)
    assert done.status == 201, done
    config = {"mediaType": "application/vnd.docker.container.image.v1+json"}
    config |= {"size": len(blob), "digest": digest}  # type: ignore[dict-item]
    manifest = {"schemaVersion": 2, "mediaType": SINGLE, "config": config, "layers": []}
    return await put_manifest(base, tag, SINGLE, manifest, own)


async def put_manifest(
    base: str, tag: str, kind: str, manifest: dict[str, Any], headers: dict[str, str]
) -> str:
    answer = await fetch(
        f"{base}/manifests/{tag}",
        method="PUT",
        headers={"Content-Type": kind, **headers},
        body=json.dumps(manifest).encode(),
        may_be_plain=True,
    )
    assert answer.status == 201, answer
    return answer.headers["docker-content-digest"]


async def test_tags_are_resolved(tmp_path: Path) -> None:
    client = RegistryClient()
    async with registry(tmp_path) as host:
        digest = await push(host, "acme/app", "1", "one")
        image = ImageReference.parse(f"{host}/acme/app:1")
        assert (await client.resolve(image)).digest == digest
        assert (await client.resolve(image.pinned(digest))).digest == digest
        platform = {"architecture": "arm64", "os": "linux"}
        entry = {"mediaType": SINGLE, "digest": digest, "size": 1, "platform": platform}
        listed = await put_manifest(
            f"http://{host}/v2/acme/app",
            "multi",
            LIST,
            {"schemaVersion": 2, "mediaType": LIST, "manifests": [entry]},
            {},
        )
        found = await client.resolve(ImageReference.parse(f"{host}/acme/app:multi"))
        assert (found.digest, found.platforms) == (listed, (Platform("linux", "arm64"),))
        with pytest.raises(NotFound, match="manifest unknown"):
            await client.resolve(ImageReference.parse(f"{host}/acme/app:nosuch"))
    with pytest.raises(Unavailable):
        await client.resolve(image)


async def test_a_service_keeps_its_digest_until_its_image_is_set(tmp_path: Path) -> None:
    async with registry(tmp_path) as host, one_node() as cluster:
        first = await push(host, "app", "1", "one")
        name = f"{host}/app:1"
        cluster.services.resolve_images(RegistryClient())
        web = await cluster.services.create(name="web", image=name)
        assert web.spec.task.container.image == f"{name}@{first}"
        assert web.warnings == ()
        second = await push(host, "app", "1", "two")
        assert second != first
        await web.update(env=["A=1"])
        await web.force_update()
        assert web.spec.task.container.image == f"{name}@{first}"
        again = await cluster.services.apply("web", image=name, env=["A=1"])
        assert again.spec.task.container.image == f"{name}@{first}"
        await web.update(image=name)
        assert web.spec.task.container.image == f"{name}@{second}"
        await web.update(image=f"{host}/app:nosuch")
        assert web.spec.task.container.image == f"{host}/app:nosuch"
        (warning,) = web.warnings
        assert warning.startswith(f"unable to pin image {host}/app:nosuch to digest: manifest unk")
        await web.rollback()
        assert web.spec.task.container.image == f"{name}@{second}"


# -- tokens


class TokenServer:
    """Gives a token to whoever shows the password, as the registry's configuration says."""

    def __init__(self, directory: Path) -> None:
        self.port = free_ports(1)[0]
        self.seen: list[str] = []
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tokens")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self._chain = b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
        bundle = directory / "tokens.pem"
        bundle.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.config = (
            f"auth: {{token: {{realm: 'http://127.0.0.1:{self.port}/token', service: test, "
            f"issuer: tokens, rootcertbundle: {bundle}}}}}\n"
        )

    def token(self, *actions: str) -> str:
        now = int(datetime.now(UTC).timestamp())
        access = [{"type": "repository", "name": "app", "actions": list(actions)}]
        claims = {"iss": "tokens", "aud": "test", "sub": "u", "iat": now, "nbf": now - 60}
        claims |= {"exp": now + 300, "jti": "1", "access": access}
        header = {"typ": "JWT", "alg": "RS256", "x5c": [self._chain]}
        text = ".".join(_part(json.dumps(each).encode()) for each in (header, claims))
        signature = self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{_part(signature)}"

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            data = b""
            while b"\r\n\r\n" not in data and (chunk := await stream.receive_some()):
                data += chunk
            head, _, rest = data.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            sizes = [int(x.partition(":")[2]) for x in lines if x.lower().startswith("content-l")]
            while len(rest) < sum(sizes) and (chunk := await stream.receive_some()):
                rest += chunk
            method, target, _ = lines[0].split()
            query = parse_qs(rest.decode() if method == "POST" else urlsplit(target).query)
            is_login = "offline_token" in query
            assert query["service"] == ["test"]
            assert query.get("scope", []) in ([], ["repository:app:pull"])
            assert not (is_login and "scope" in query)
            given = [x.partition(" ")[2] for x in lines if x.lower().startswith("authorization:")]
            self.seen += given
            known = given == ["Basic " + b64encode(b"u:pass").decode()]
            name = "token"
            if method == "POST":  # a refresh token stands for name and password
                self.seen += query["refresh_token"]
                known = not given and query["refresh_token"] == ["refresh-me"]
                known = known and query["grant_type"] == ["refresh_token"]
                name = "access_token"
            good = {
                name: self.token("pull"),
                **({"refresh_token": "refresh-me"} if is_login else {}),
            }
            bad = {"details": "incorrect username or password"}
            body = json.dumps(good if known else bad).encode()
            status = "200 OK" if known else "401 Unauthorized"
            answer = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
            await stream.send_all(answer.encode() + body)


def _part(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def login(password: str) -> str:
    return encoded(username="u", password=password)


def encoded(**fields: str) -> str:
    return urlsafe_b64encode(json.dumps(fields).encode()).decode()


@asynccontextmanager
async def guarded(directory: Path) -> AsyncIterator[tuple[str, TokenServer]]:
    tokens = TokenServer(directory)
    async with trio.open_nursery() as nursery, registry(directory, tokens.config) as host:
        nursery.start_soon(partial(trio.serve_tcp, tokens.serve, tokens.port, host="127.0.0.1"))
        yield host, tokens
        nursery.cancel_scope.cancel()


async def test_a_registry_that_wants_tokens(tmp_path: Path) -> None:
    client = RegistryClient()
    async with guarded(tmp_path) as (host, tokens):
        bearer = {"Authorization": f"Bearer {tokens.token('pull', 'push')}"}
        digest = await push(host, "app", "1", "one", bearer)
        image = ImageReference.parse(f"{host}/app:1")
        with pytest.raises(Unauthenticated):
            await client.resolve(image)
        with pytest.raises(Unauthenticated):
            await client.resolve(image, login("wrong"))
        assert (await client.resolve(image, login("pass"))).digest == digest
        assert tokens.seen[-1].startswith("Basic ")


async def test_refresh_tokens_and_tokens_given_at_once(tmp_path: Path) -> None:
    client = RegistryClient()
    async with guarded(tmp_path) as (host, tokens):
        bearer = {"Authorization": f"Bearer {tokens.token('pull', 'push')}"}
        digest = await push(host, "app", "1", "one", bearer)
        image = ImageReference.parse(f"{host}/app:1")
        assert (await client.resolve(image, encoded(identitytoken="refresh-me"))).digest == digest
        assert tokens.seen == ["refresh-me"]
        with pytest.raises(Unauthenticated) as caught:
            await client.resolve(image, encoded(identitytoken="stale-token"))
        assert "stale-token" not in str(caught.value)
        ready = encoded(registrytoken=tokens.token("pull"))
        assert (await client.resolve(image, ready)).digest == digest
        assert tokens.seen == ["refresh-me", "stale-token"]  # nobody was asked for another
        with pytest.raises(Unauthenticated):
            await client.resolve(image, encoded(registrytoken="nonsense"))


# Of the password "pass", by bcrypt at its least cost; it is all that docker-registry takes.
HTPASSWD = "u:$2b$04$abcdefghijklmnopqrstuufznL8bkzdtHwLhca4To/v9Lo9bA7fR6\n"


async def test_a_registry_that_wants_a_password_at_once(tmp_path: Path) -> None:
    client = RegistryClient()
    known = tmp_path / "known"
    known.write_text(HTPASSWD, encoding="ascii")
    auth = f"auth: {{htpasswd: {{realm: here, path: {known}}}}}\n"
    async with registry(tmp_path, auth) as host:
        basic = {"Authorization": Credentials.parse(login("pass")).basic}
        digest = await push(host, "app", "1", "one", basic)
        image = ImageReference.parse(f"{host}/app:1")
        assert (await client.resolve(image, login("pass"))).digest == digest
        with pytest.raises(Unauthenticated, match=r'Head "http.*": no basic auth credentials'):
            await client.resolve(image)
        with pytest.raises(Unauthenticated, match="unauthorized: "):
            await client.resolve(image, login("wrong"))


class NoHost:
    """Who logs in needs no swarm."""

    def node(self) -> None:
        return None

    executor = member = node


async def log_in(server: str, version: str = "1.50", **fields: str) -> tuple[int, Any]:
    """What the Engine API answers."""
    engine = Engine(NoHost(), images=RegistryClient())  # type: ignore[arg-type]
    body = json.dumps({"serveraddress": server, **fields}).encode()
    kind = {"content-type": "application/json"}
    answer = await engine.respond("POST", f"/v{version}/auth", kind, body)
    assert isinstance(answer, Response)
    said = json.loads(answer.body)
    return answer.status, said.get("message", said)


async def test_logging_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Texts and statuses as of Docker 20.10 with the same registries; newer engines say 401."""
    good, bad = {"username": "u", "password": "pass"}, {"username": "u", "password": "wr0ng"}
    caplog.set_level("DEBUG")
    (tmp_path / "known").write_text(HTPASSWD, encoding="ascii")
    auth = f"auth: {{htpasswd: {{realm: here, path: {tmp_path / 'known'}}}}}\n"
    done = {"IdentityToken": "", "Status": "Login Succeeded"}
    async with registry(tmp_path, auth) as host:
        url = f"http://{host}/v2/"
        for address in (host, f"http://{host}/v1/"):
            assert await log_in(address, **good) == (200, done)
        failed = f"login attempt to {url} failed with status: 401 Unauthorized"
        assert await log_in(host, **bad) == (401, failed)
        assert await log_in(host, "1.41", **bad) == (500, failed)
        assert await log_in(host) == (401, f'Get "{url}": no basic auth credentials')
    refused = f'Get "{url}": dial tcp {host}: connect: connection refused'
    assert await log_in(host, **good) == (500, refused)
    async with guarded(tmp_path) as (host, _):
        status, said = await log_in(host, **good)
        assert (status, said["IdentityToken"]) == (200, "refresh-me")
        status, said = await log_in(host, identitytoken="refresh-me")
        assert (status, said["IdentityToken"]) == (200, "refresh-me")
        wrong = f'Get "http://{host}/v2/": unauthorized: incorrect username or password'
        assert await log_in(host, **bad) == (401, wrong)
        assert await log_in(host, "1.41", **bad) == (500, wrong)
    assert "wr0ng" not in caplog.text and b64encode(b"u:pass").decode() not in caplog.text


async def test_credentials_reach_the_task_and_nothing_else(tmp_path: Path) -> None:
    seen: list[TaskContext] = []

    async def keep(task: TaskContext) -> None:
        seen.append(task)
        await trio.sleep_forever()

    auth = login("pass")
    async with guarded(tmp_path) as (host, tokens):
        bearer = {"Authorization": f"Bearer {tokens.token('pull', 'push')}"}
        digest = await push(host, "app", "1", "one", bearer)
        executor = CallableExecutor({f"{host}/app": keep}, own_thread=False)
        async with one_node(executor=executor) as cluster:
            cluster.services.resolve_images(RegistryClient())
            container = ContainerSpec(f"{host}/app:1", registry_auth=auth)
            spec = ServiceSpec("web", TaskSpec(container))
            web = await cluster.services.create(spec)
            await web.wait_converged(timeout=WAIT_S)
            stored = web.spec.task.container
            assert stored.image == f"{host}/app:1@{digest}"
            assert stored.registry_auth.startswith(MARK)
            assert sealed_auth(stored.registry_auth) is not None
            assert auth not in repr(web.value) and auth not in stored.registry_auth
            assert seen[0].registry_auth == auth
            assert auth not in repr(seen[0])
            again = await cluster.services.apply(attrs.evolve(spec))
            assert again.value.version == web.value.version  # the same credentials, sealed once


def test_credentials_are_read_as_docker_sends_them() -> None:
    assert Credentials.parse("") == Credentials()
    found = Credentials.parse(login("x"))
    assert (found.username, found.password) == ("u", "x")
    assert "'x'" not in repr(found)
