"""What requests about cluster volumes (CSI) do: create, change, remove.

Of a volume only labels and availability can be changed. The plug-ins' work on it (making it,
publishing it to nodes, deleting it) is written into the object by whoever talks to them.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyswarm.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from pyswarm.machine import Because
from pyswarm.model import TaskState, Volume, VolumeSpec, replace
from pyswarm.model.requests import CreateVolume, RemoveVolume, UpdateVolume
from pyswarm.model.validate import validate_name
from pyswarm.node.context import Context
from pyswarm.node.lookup import free_id
from pyswarm.store import Reader, Transaction


def create_volume(tx: Transaction, request: CreateVolume, context: Context) -> Volume:
    """A new volume; its plug-in makes it later."""
    spec = request.spec
    if not spec.driver.name:
        raise InvalidArgument("driver must be specified")
    validate_name("volume", spec.name)
    mode = spec.access_mode
    if mode.block and (mode.mount_fs_type or mode.mount_flags):
        raise InvalidArgument("Volume AccessMode must specify either Mount or Block access type")
    _check_secrets(tx, spec)
    if tx.by_name("volume", spec.name) is not None:
        raise AlreadyExists(f"volume {spec.name} already exists")
    made = Volume(id=request.id or free_id(tx, "volume", context.rng), spec=spec)
    written: Volume = tx.create(made, Because("create-volume", (spec.name,)))
    return written


def _check_secrets(reader: Reader, spec: VolumeSpec) -> None:
    missing = [id for id in spec.secrets.values() if reader.secret(id) is None]
    if missing:
        raise InvalidArgument(f"secret(s) not found: {', '.join(missing)}")


def update_volume(tx: Transaction, request: UpdateVolume, context: Context) -> Volume:
    """Labels and availability only."""
    volume: Volume | None = tx.get("volume", request.id)
    if volume is None:
        raise NotFound(f"volume {request.id} not found")
    for field in _fixed_fields_changed(volume.spec, request.spec):
        raise InvalidArgument(f"{field} cannot be updated")
    written: Volume = tx.update(
        replace(volume, spec=request.spec),
        Because("update-volume", (volume.spec.name,)),
        expect=request.version,
    )
    return written


def _fixed_fields_changed(old: VolumeSpec, new: VolumeSpec) -> Iterator[str]:
    """Swarm's names of the fields that differ and must not, in its order."""
    fields = (
        ("Name", old.name, new.name),
        ("Group", old.group, new.group),
        ("AccessibilityRequirements", old.requisite, new.requisite),
        ("AccessibilityRequirements", old.preferred, new.preferred),
        ("Driver", old.driver, new.driver),
        ("AccessMode", old.access_mode, new.access_mode),
        ("Secrets", old.secrets, new.secrets),
        ("CapacityRange", old.required_bytes, new.required_bytes),
        ("CapacityRange", old.limit_bytes, new.limit_bytes),
    )
    return (name for name, before, after in fields if before != after)


def remove_volume(tx: Transaction, request: RemoveVolume, context: Context) -> None:
    """``force``, or a volume that its plug-in never made: gone at once. Otherwise it is marked, and
    goes when the plug-in has deleted it; refused while it is published to a node."""
    volume: Volume | None = tx.get("volume", request.id)
    if volume is None:
        raise NotFound(f"volume {request.id} not found")
    because = Because("remove-volume", (volume.spec.name,))
    if not request.force and (volume.publish or _is_used(tx, volume)):
        raise FailedPrecondition("volume is still in use")
    if request.force or not volume.volume_id:
        tx.delete("volume", volume.id, because)
    else:
        tx.update(replace(volume, pending_delete=True), because)


def _is_used(reader: Reader, volume: Volume) -> bool:
    return any(
        volume.id in task.volumes for task in reader.tasks() if task.state <= TaskState.RUNNING
    )
