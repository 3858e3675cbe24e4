"""The store for use alone: create, list, grant, revoke, open for a task."""

from __future__ import annotations

import pytest

from pyswarm.env import Rng
from pyswarm.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied
from pyswarm.model.objects import Task
from pyswarm.model.specs import ContainerSpec, SecretReference, TaskSpec
from pyswarm.secretstore import SecretStore, UnknownSealingKey


@pytest.fixture
def store() -> SecretStore:
    return SecretStore(entropy=Rng(7).bytes)


def test_create_get_list(store: SecretStore) -> None:
    one = store.create("one", b"1", labels={"a": "b"}, now=5.0)
    two = store.create("two", b"2")
    assert store.get("one") is store.get(one.id) is store.get("ONE") is one
    assert store.list() == (one, two)
    assert (one.created_at, one.spec.labels, one.version, two.version) == (5.0, {"a": "b"}, 1, 2)
    with pytest.raises(AlreadyExists, match=r"^secret One already exists$"):
        store.create("One", b"x")
    with pytest.raises(InvalidArgument):
        store.create("three", b"")
    with pytest.raises(NotFound, match=r"^secret three not found$"):
        store.get("three")


def test_only_who_was_granted_may_open(store: SecretStore) -> None:
    secret = store.create("password", b"hunter2")
    store.grant("password", "web")
    assert store.open("password", "web") == b"hunter2"
    with pytest.raises(PermissionDenied) as caught:
        store.open(secret.id, "mail")
    assert str(caught.value) == f"task not authorized to access secret {secret.id}"
    store.revoke("password", "web")
    with pytest.raises(PermissionDenied):
        store.open("password", "web")
    with pytest.raises(NotFound):
        store.revoke("password", "web")


def test_tasks_open_what_they_refer_to_or_were_granted(store: SecretStore) -> None:
    one, two = store.create("one", b"1"), store.create("two", b"2")
    spec = TaskSpec(container=ContainerSpec("x", secrets=(SecretReference(one.id, "one"),)))
    task = Task("t", "service", spec, service_name="web")
    assert store.open("one", task) == b"1"
    with pytest.raises(PermissionDenied):
        store.open("two", task)
    for grantee in ("t", "service", "web"):
        store.grant("two", grantee)
        assert store.open(two.id, task) == b"2"
        store.revoke("two", grantee)


def test_a_granted_secret_is_not_removed(store: SecretStore) -> None:
    store.create("one", b"1")
    store.grant("one", "web")
    store.grant("one", "mail")
    with pytest.raises(InvalidArgument) as caught:
        store.remove("one")
    assert str(caught.value) == "secret 'one' is in use by the following services: web, mail"
    store.revoke("one", "web")
    store.revoke("one", "mail")
    store.remove("one")
    assert store.list() == ()
    store.create("one", b"again")


def test_two_secrets_cannot_become_one_file(store: SecretStore) -> None:
    store.create("one", b"1")
    store.create("two", b"2")
    first = store.grant("one", "web", target="t", mode=0o400)
    assert store.grant("one", "web", target="t", mode=0o400) == first
    with pytest.raises(InvalidArgument, match="have a conflicting target: 't'"):
        store.grant("two", "web", target="t")
    store.grant("two", "mail", target="t")
    assert store.references("web") == (first,)


def test_labels_are_the_only_update(store: SecretStore) -> None:
    before = store.create("one", b"1")
    after = store.set_labels("one", {"k": "v"}, now=9.0)
    assert (after.spec.labels, after.updated_at, after.payload) == ({"k": "v"}, 9.0, before.payload)
    assert store.get("one") is after and after.version > before.version


def test_dump_holds_no_payload_and_loads_again(store: SecretStore) -> None:
    store.create("one", b"hunter2-hunter2", labels={"k": "v"})
    store.grant("one", "web", target="/etc/one")
    dumped = store.dump()
    assert b"hunter2" not in dumped
    again = SecretStore.load(dumped, store.sealer)
    assert again.list() == store.list() and again.references("web") == store.references("web")
    assert again.open("one", "web") == b"hunter2-hunter2"
    for garbage in (b"", b"{}", b'{"format": 99}', b"[]", b"\xff"):
        with pytest.raises(InvalidArgument):
            SecretStore.load(garbage, store.sealer)


def test_reseal_moves_everything_to_a_new_key(store: SecretStore) -> None:
    old = store.create("one", b"1")
    store.grant("one", "web")
    store.reseal()
    assert store.open("one", "web") == b"1"
    with pytest.raises(UnknownSealingKey):
        store.sealer.open(old.payload)


def test_nothing_secret_in_a_repr(store: SecretStore) -> None:
    secret = store.create("one", b"hunter2")
    assert "hunter2" not in repr(store) + repr(secret) + repr(store.list())
