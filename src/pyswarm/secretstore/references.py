"""What a service's spec may say of secrets and configs, checked when it is created or updated.

Each reference names its object by id *and* name, and the file it becomes in a task. Two references
of one kind must not become the same file; a secret and a config may, since they live in different
directories by default. A config may be there for the runtime instead (a credential spec) and is no
file then. The order of checks and the sentences are SwarmKit's (``controlapi/service.go``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pyswarm.errors import InvalidArgument
from pyswarm.model.objects import Config, Secret
from pyswarm.model.specs import ConfigReference, ContainerSpec, SecretReference, TaskSpec
from pyswarm.secretstore.rules import Kind

Lookup = Callable[[Kind, str], Secret | Config | None]
"""``lookup(kind, id)`` gives the object, or None."""
Reference = SecretReference | ConfigReference


def check_references(spec: TaskSpec, lookup: Lookup) -> None:
    """Raises ``InvalidArgument`` if the secrets and configs of ``spec`` cannot be given to a task:
    a malformed reference, two files under one target, an object that does not exist."""
    container = spec.container
    if container is None:
        return
    check_files("secret", container.secrets)
    check_files("config", container.configs)
    check_credential_spec(container)
    check_existence("secret", container.secrets, lookup)
    check_existence("config", container.configs, lookup)


def check_files(kind: Kind, references: Iterable[Reference]) -> None:
    """Each reference is whole, and no two become one file."""
    name_by_target: dict[str, str] = {}
    for reference in references:
        id, name = named(reference)
        if not id or not name:
            raise InvalidArgument(f"malformed {kind} reference")
        if isinstance(reference, ConfigReference) and reference.runtime:
            if reference.target:
                raise InvalidArgument(f"malformed {kind} reference: a runtime target is no file")
            continue
        target = reference.target or name
        if not is_file_target(target):
            raise InvalidArgument(
                f"malformed file {kind} reference, invalid target file name provided",
                details={"target": target},
            )
        if (other := name_by_target.get(target)) is not None:
            raise InvalidArgument(
                f"{kind} references '{other}' and '{name}' have a conflicting target: '{target}'",
                details={"target": target},
            )
        name_by_target[target] = name


def check_existence(kind: Kind, references: Iterable[Reference], lookup: Lookup) -> None:
    """Every referenced object exists under that id and that name."""
    missing: list[str] = []
    for reference in references:
        id, name = named(reference)
        found = lookup(kind, id)
        if found is None or found.spec.name != name:
            missing.append(name)
    if missing:
        word = kind if len(missing) == 1 else f"{kind}s"
        raise InvalidArgument(
            f"{word} not found: {', '.join(missing)}", details={"kind": kind, "names": missing}
        )


def check_credential_spec(container: ContainerSpec) -> None:
    """A credential spec taken from a config needs a reference to it with a runtime target."""
    privileges = container.privileges
    credential = privileges.credential_spec if privileges else None
    if credential is None or not credential.config:
        return
    if not any(ref.runtime and ref.config_id == credential.config for ref in container.configs):
        raise InvalidArgument(
            f"CredentialSpec references config '{credential.config}', "
            "but that config isn't in config references with RuntimeTarget"
        )


def named(reference: Reference) -> tuple[str, str]:
    """(id, name) of the object that ``reference`` means."""
    if isinstance(reference, SecretReference):
        return reference.secret_id, reference.secret_name
    return reference.config_id, reference.config_name


def is_file_target(target: str) -> bool:
    """True if ``target`` names a file: not a directory, and nothing the system refuses."""
    last = target.rpartition("/")[2]
    return last not in ("", ".", "..") and "\0" not in target
