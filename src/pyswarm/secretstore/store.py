"""Secrets (or configs) for an application without a swarm: create, grant, open.

    store = SecretStore()
    store.create("db-password", b"hunter2")
    store.grant("db-password", "web")
    store.open("db-password", "web")        # b"hunter2"
    store.open("db-password", "mail")       # PermissionDenied

Payloads are held sealed, and whoever lists, prints or keeps the store sees no payload. ``dump``
gives everything but the sealing keys as bytes, to be put on disk; the keys are kept elsewhere. A
swarm does the same with its own store; the rules and sentences are the same ones.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import attrs

from pyswarm.env import Entropy, Rng, system_entropy
from pyswarm.errors import InvalidArgument, NotFound, PermissionDenied
from pyswarm.ids import new_id
from pyswarm.model.objects import Sealed, Secret, Task
from pyswarm.model.specs import SecretReference, SecretSpec
from pyswarm.secretstore.files import secret_path
from pyswarm.secretstore.references import check_files
from pyswarm.secretstore.rules import (
    already_exists_error,
    check_name,
    check_payload_size,
    in_use_error,
    not_found_error,
)
from pyswarm.secretstore.sealer import Sealer

DUMP_FORMAT = 1


class SecretStore:
    """Named payloads, sealed, each readable for those it was granted to.

    ``sealer`` holds the keys (by default a fresh one: keep ``store.sealer.keys`` if what is dumped
    is to be loaded again). ``entropy`` gives keys, nonces and ids.
    """

    def __init__(self, sealer: Sealer | None = None, *, entropy: Entropy = system_entropy) -> None:
        self.sealer = sealer or Sealer(entropy=entropy)
        self._rng = Rng(entropy(32))
        self._secrets: dict[str, Secret] = {}
        self._id_by_name: dict[str, str] = {}
        self._grants: dict[str, dict[str, SecretReference]] = {}  # grantee → target → reference
        self._version = 0

    def __repr__(self) -> str:
        return f"<SecretStore of {len(self._secrets)}>"

    def __len__(self) -> int:
        return len(self._secrets)

    def create(
        self, name: str, data: bytes, *, labels: Mapping[str, str] | None = None, now: float = 0.0
    ) -> Secret:
        """Seal and keep ``data``. ``now`` is what ``created_at`` shall say.

        Raises ``InvalidArgument`` (name, size) and ``AlreadyExists``.
        """
        check_name(name)
        check_payload_size("secret", len(data))
        if name.lower() in self._id_by_name:
            raise already_exists_error("secret", name)
        while (id := new_id(self._rng)) in self._secrets:
            pass
        self._version += 1
        secret = Secret(
            id=id,
            spec=SecretSpec(name=name, labels=dict(labels or {})),
            payload=self.sealer.seal(data),
            version=self._version,
            created_at=now,
            updated_at=now,
        )
        self._keep(secret)
        return secret

    def _keep(self, secret: Secret) -> None:
        self._secrets[secret.id] = secret
        self._id_by_name[secret.spec.name.lower()] = secret.id

    def get(self, id_or_name: str) -> Secret:
        """The secret with this id or name, its payload sealed. Raises ``NotFound``."""
        id = self._id_by_name.get(id_or_name.lower(), id_or_name)
        found = self._secrets.get(id)
        if found is None:
            raise not_found_error("secret", id_or_name)
        return found

    def list(self) -> tuple[Secret, ...]:
        """All secrets, oldest first."""
        return tuple(self._secrets.values())

    def set_labels(self, id_or_name: str, labels: Mapping[str, str], *, now: float = 0.0) -> Secret:
        """Replace the labels: the one thing of a secret that can change. Raises ``NotFound``."""
        before = self.get(id_or_name)
        self._version += 1
        spec = attrs.evolve(before.spec, labels=dict(labels))
        after = attrs.evolve(before, spec=spec, version=self._version, updated_at=now)
        self._secrets[after.id] = after
        return after

    def remove(self, id_or_name: str) -> None:
        """Forget a secret. Raises ``NotFound``, and ``InvalidArgument`` while it is granted."""
        secret = self.get(id_or_name)
        users = self.grantees(secret.id)
        if users:
            raise in_use_error("secret", secret.spec.name, users)
        del self._secrets[secret.id]
        del self._id_by_name[secret.spec.name.lower()]

    def grantees(self, id_or_name: str) -> tuple[str, ...]:
        """Who may open it, in the order of their first grant."""
        id = self.get(id_or_name).id
        return tuple(
            grantee
            for grantee, references in self._grants.items()
            if any(reference.secret_id == id for reference in references.values())
        )

    def grant(
        self,
        id_or_name: str,
        grantee: str,
        *,
        target: str = "",
        uid: str = "0",
        gid: str = "0",
        mode: int = 0o444,
    ) -> SecretReference:
        """Let ``grantee`` (the name of a service, the id of a service or of one task) open it.

        The reference says which file it is to become; a second grant under one target is refused
        with ``InvalidArgument``, unless it is the same one again. Raises ``NotFound``.
        """
        if not grantee:
            raise InvalidArgument("a grant needs the name of a service or the id of a task")
        secret = self.get(id_or_name)
        name = secret.spec.name
        reference = SecretReference(secret.id, name, target or name, uid, gid, mode)
        granted = self._grants.get(grantee, {})
        others = [other for other in granted.values() if other != reference]
        check_files("secret", [*others, reference])
        self._grants.setdefault(grantee, {})[secret_path(reference.target)] = reference
        return reference

    def revoke(self, id_or_name: str, grantee: str) -> None:
        """Take back all that ``grantee`` was granted of it. Raises ``NotFound``."""
        id = self.get(id_or_name).id
        before = self._grants.get(grantee, {})
        after = {path: ref for path, ref in before.items() if ref.secret_id != id}
        if len(after) == len(before):
            raise NotFound(f"secret {id_or_name} is not granted to {grantee}")
        if after:
            self._grants[grantee] = after
        else:
            del self._grants[grantee]

    def references(self, grantee: str) -> tuple[SecretReference, ...]:
        """What ``grantee`` was granted, as a service's spec would name it."""
        return tuple(self._grants.get(grantee, {}).values())

    def open(self, id_or_name: str, task: Task | str) -> bytes:
        """The payload, for a task: one that refers to it in its spec, or was granted it (itself or
        its service).

        Raises ``NotFound``, ``PermissionDenied``, ``UnknownSealingKey`` and ``PayloadDamaged``.
        """
        secret = self.get(id_or_name)
        if not self._may_open(secret.id, task):
            raise PermissionDenied(
                f"task not authorized to access secret {secret.id}",
                hint="grant the secret to the task's service",
                details={"secret": secret.id, "task": task if isinstance(task, str) else task.id},
            )
        assert secret.payload is not None
        return self.sealer.open(secret.payload)

    def _may_open(self, id: str, task: Task | str) -> bool:
        if isinstance(task, str):
            return any(ref.secret_id == id for ref in self.references(task))
        container = task.spec.container
        if container and any(ref.secret_id == id for ref in container.secrets):
            return True
        grantees = (task.id, task.service_id, task.service_name)
        return any(ref.secret_id == id for name in grantees for ref in self.references(name))

    def reseal(self) -> None:
        """Draw a new sealing key, move every payload to it, and drop the old keys."""
        self.sealer.rotate()
        for id, secret in self._secrets.items():
            assert secret.payload is not None
            self._secrets[id] = attrs.evolve(secret, payload=self.sealer.reseal(secret.payload))
        for key in self.sealer.keys[:-1]:
            self.sealer.forget(key.id)

    def dump(self) -> bytes:
        """Everything but the keys, for a file; payloads stay sealed."""
        grants = [
            (grantee, attrs.astuple(reference))
            for grantee, references in self._grants.items()
            for reference in references.values()
        ]
        secrets = [_plain(secret) for secret in self._secrets.values()]
        form = {"format": DUMP_FORMAT, "version": self._version}
        return json.dumps({**form, "secrets": secrets, "grants": grants}).encode()

    @classmethod
    def load(cls, data: bytes, sealer: Sealer, *, entropy: Entropy = system_entropy) -> SecretStore:
        """What ``dump`` gave. Raises ``InvalidArgument`` if it is something else."""
        store = cls(sealer, entropy=entropy)
        try:
            form = json.loads(data)
            if form["format"] != DUMP_FORMAT:
                raise InvalidArgument(f"secrets in format {form['format']} are not readable here")
            store._version = int(form["version"])
            for plain in form["secrets"]:
                store._keep(_secret(plain))
            for grantee, fields in form["grants"]:
                reference = SecretReference(*fields)
                path = secret_path(reference.target)
                store._grants.setdefault(grantee, {})[path] = reference
        except (KeyError, TypeError, ValueError):
            raise InvalidArgument("these are not the secrets of a SecretStore") from None
        return store


def _plain(secret: Secret) -> dict[str, Any]:
    payload = secret.payload
    assert payload is not None
    blobs = (payload.nonce, payload.ciphertext, payload.digest)
    return {
        "id": secret.id,
        "name": secret.spec.name,
        "labels": dict(secret.spec.labels),
        "version": secret.version,
        "at": [secret.created_at, secret.updated_at],
        "sealed": [payload.key_id, payload.length, *(base64.b64encode(b).decode() for b in blobs)],
    }


def _secret(plain: dict[str, Any]) -> Secret:
    key_id, length, *blobs = plain["sealed"]
    nonce, ciphertext, digest = (base64.b64decode(blob, validate=True) for blob in blobs)
    created_at, updated_at = plain["at"]
    return Secret(
        id=plain["id"],
        spec=SecretSpec(name=plain["name"], labels=plain["labels"]),
        payload=Sealed(key_id, nonce, ciphertext, length, digest),
        version=plain["version"],
        created_at=created_at,
        updated_at=updated_at,
    )
