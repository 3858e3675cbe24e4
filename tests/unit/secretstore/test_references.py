"""What a service may say of secrets and configs, and the files that follow (spec: 2, 3)."""

from __future__ import annotations

import pytest

from pyswarm.errors import InvalidArgument, PermissionDenied
from pyswarm.model.objects import Config, Secret
from pyswarm.model.specs import (
    AttachmentSpec,
    ConfigReference,
    ConfigSpec,
    ContainerSpec,
    CredentialSpec,
    Privileges,
    SecretReference,
    SecretSpec,
    TaskSpec,
)
from pyswarm.secretstore import (
    check_references,
    config_path,
    files_for_task,
    secret_path,
)

SECRETS = {id: Secret(id, SecretSpec(name)) for id, name in (("s1", "one"), ("s2", "two"))}
CONFIGS = {id: Config(id, ConfigSpec(name)) for id, name in (("c1", "one"), ("c2", "two"))}


def lookup(kind, id):
    return (SECRETS if kind == "secret" else CONFIGS).get(id)


def spec(*references, **container) -> TaskSpec:
    return TaskSpec(
        container=ContainerSpec(
            image="x",
            secrets=tuple(ref for ref in references if isinstance(ref, SecretReference)),
            configs=tuple(ref for ref in references if isinstance(ref, ConfigReference)),
            **container,
        )
    )


S, C = SecretReference, ConfigReference


def test_good_references() -> None:
    check_references(spec(S("s1", "one"), S("s2", "two", "/etc/x"), C("c1", "one")), lookup)
    check_references(spec(S("s1", "one", "a"), S("s1", "one", "b")), lookup)
    check_references(TaskSpec(attachment=AttachmentSpec("x")), lookup)


@pytest.mark.parametrize(
    ("references", "sentence"),
    [
        ([S("", "one")], "malformed secret reference"),
        ([S("s1", "")], "malformed secret reference"),
        ([C("c1", "")], "malformed config reference"),
        (
            [S("s1", "one", "/")],
            "malformed file secret reference, invalid target file name provided",
        ),
        (
            [C("c1", "one", "a/..")],
            "malformed file config reference, invalid target file name provided",
        ),
        (
            [S("s1", "one", "t"), S("s2", "two", "t")],
            "secret references 'one' and 'two' have a conflicting target: 't'",
        ),
        (
            [C("c1", "one", "t"), C("c2", "two", "t")],
            "config references 'one' and 'two' have a conflicting target: 't'",
        ),
        ([S("s3", "a")], "secret not found: a"),
        ([S("s3", "a"), S("s1", "one"), S("s4", "b")], "secrets not found: a, b"),
        ([S("s1", "two")], "secret not found: two"),
        ([C("c3", "a"), C("c4", "b")], "configs not found: a, b"),
    ],
)
def test_refusals(references, sentence) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_references(spec(*references), lookup)
    assert str(caught.value) == sentence


def test_secret_and_config_may_share_a_target() -> None:
    check_references(spec(S("s1", "one", "t"), C("c1", "one", "t")), lookup)


def test_credential_spec_needs_a_runtime_reference() -> None:
    privileges = Privileges(credential_spec=CredentialSpec(config="c1"))
    check_references(spec(C("c1", "one", runtime=True), privileges=privileges), lookup)
    with pytest.raises(InvalidArgument) as caught:
        check_references(spec(C("c1", "one"), privileges=privileges), lookup)
    assert str(caught.value) == (
        "CredentialSpec references config 'c1', "
        "but that config isn't in config references with RuntimeTarget"
    )


@pytest.mark.parametrize(
    ("target", "secret", "config"),
    [
        ("db", "/run/secrets/db", "/db"),
        ("a/b", "/run/secrets/a/b", "/a/b"),
        ("/etc/x.conf", "/etc/x.conf", "/etc/x.conf"),
        ("./a//b", "/run/secrets/a/b", "/a/b"),
        ("../../../../etc/x", "/etc/x", "/etc/x"),
    ],
)
def test_paths(target: str, secret: str, config: str) -> None:
    assert (secret_path(target), config_path(target)) == (secret, config)


@pytest.mark.parametrize("target", ["", "/", "a/", "..", "a\0b"])
def test_no_file(target: str) -> None:
    with pytest.raises(InvalidArgument):
        secret_path(target)


def test_files_of_a_task() -> None:
    asked = []

    def read(kind, id):
        asked.append((kind, id))
        return f"{kind} {id}".encode()

    references = [S("s1", "one"), S("s1", "one", "/x", "1", "2", 0o400), C("c1", "one")]
    task = spec(*references, C("c2", "two", runtime=True))
    files = files_for_task(task, read)
    assert [(file.path, file.data, file.mode) for file in files] == [
        ("/run/secrets/one", b"secret s1", 0o444),
        ("/x", b"secret s1", 0o400),
        ("/one", b"config c1", 0o444),
    ]
    assert asked == [("secret", "s1"), ("config", "c1")]
    assert "secret s1" not in repr(files[0])


def test_what_the_reader_refuses_passes_through() -> None:
    def read(kind, id):
        raise PermissionDenied(f"task not authorized to access secret {id}")

    with pytest.raises(PermissionDenied):
        files_for_task(spec(S("s1", "one")), read)
