"""Mounts of a container both ways."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from pyswarm.api.convert.parts import Said, driver, nonnull, omitempty, quoted
from pyswarm.errors import InvalidArgument
from pyswarm.model import BindOptions, Mount, MountType, TmpfsOptions, VolumeOptions

EMPTY_DRIVER = "Mounts.VolumeOptions.DriverConfig"
PROPAGATIONS = ("rprivate", "private", "rshared", "shared", "rslave", "slave")
"""The first is the default, and shown where bind options say nothing of it."""


def mount_of(data: Said) -> Mount:
    """The mount of a decoded body; without a type it is a bind mount, as with Docker.

    What a service's mount could not keep is refused: options of an image or of a cluster volume.
    """
    kind = _type_of(data.text("Type"))
    for field, wanted in (("ImageOptions", None), ("ClusterOptions", MountType.CLUSTER)):
        if data.pointer(field) is not None and kind is not wanted:
            raise InvalidArgument(
                f'invalid mount config for type "{kind}": field {field} must not be specified'
            )
    return Mount(
        target=data.text("Target"),
        source=data.text("Source"),
        type=kind,
        read_only=data.flag("ReadOnly"),
        consistency=data.text("Consistency"),
        bind=_bind_of(data.pointer("BindOptions")),
        volume=_volume_of(data.pointer("VolumeOptions")),
        tmpfs=_tmpfs_of(data.pointer("TmpfsOptions")),
    )


def empty_driver(data: Said) -> str:
    """What ``TaskSpec.given`` holds of a mount whose volume has a driver that says nothing, as the
    CLI writes it; "" of others."""
    options = data.pointer("VolumeOptions")
    config = None if options is None else options.pointer("DriverConfig")
    if config is None or config.text("Name") or config.map("Options"):
        return ""
    return f"{EMPTY_DRIVER} {data.text('Target')}"


def show_mount(mount: Mount, given: Collection[str] = ()) -> dict[str, Any]:
    """The mount in Engine JSON; ``given`` is its task's."""
    return {
        **omitempty(
            Type=str(mount.type),
            Source=mount.source,
            Target=mount.target,
            ReadOnly=mount.read_only,
            Consistency=mount.consistency,
        ),
        **nonnull(
            BindOptions=_show_bind(mount.bind),
            VolumeOptions=_show_volume(mount.volume, f"{EMPTY_DRIVER} {mount.target}" in given),
            TmpfsOptions=_show_tmpfs(mount.tmpfs),
        ),
    }


def _type_of(word: str) -> MountType:
    """Containers may have mounts of images, services not, as with Docker."""
    if not word:
        return MountType.BIND
    for kind in MountType:
        if str(kind) == word.lower() and kind is not MountType.IMAGE:
            return kind
    raise InvalidArgument(f"invalid MountType: {quoted(word)}")


def _bind_of(data: Said | None) -> BindOptions | None:
    if data is None:
        return None
    propagation = data.text("Propagation").lower()
    if propagation and propagation not in PROPAGATIONS:
        raise InvalidArgument(f"invalid MountPropagation: {quoted(data.text('Propagation'))}")
    options = BindOptions(
        propagation=propagation,
        non_recursive=data.flag("NonRecursive"),
        create_mountpoint=data.flag("CreateMountpoint"),
        read_only_non_recursive=data.flag("ReadOnlyNonRecursive"),
        read_only_force_recursive=data.flag("ReadOnlyForceRecursive"),
    )
    return None if options == BindOptions() else options


def _show_bind(options: BindOptions | None) -> dict[str, Any] | None:
    if options is None:
        return None
    return omitempty(
        Propagation=options.propagation or PROPAGATIONS[0],
        NonRecursive=options.non_recursive,
        CreateMountpoint=options.create_mountpoint,
        ReadOnlyNonRecursive=options.read_only_non_recursive,
        ReadOnlyForceRecursive=options.read_only_force_recursive,
    )


def _volume_of(data: Said | None) -> VolumeOptions | None:
    if data is None:
        return None
    config = data.pointer("DriverConfig")
    return VolumeOptions(
        no_copy=data.flag("NoCopy"),
        labels=data.map("Labels"),
        driver=config.text("Name") if config is not None else "",
        driver_options=config.map("Options") if config is not None else {},
        subpath=data.text("Subpath"),
    )


def _show_volume(options: VolumeOptions | None, has_driver: bool) -> dict[str, Any] | None:
    if options is None:
        return None
    config = driver(options.driver, options.driver_options)
    return {
        **omitempty(NoCopy=options.no_copy, Labels=dict(options.labels), Subpath=options.subpath),
        **nonnull(DriverConfig=config if config or has_driver else None),
    }


def _tmpfs_of(data: Said | None) -> TmpfsOptions | None:
    if data is None:
        return None
    options = [list(one) for one in data.given("Options") or ()]
    return TmpfsOptions(
        size_bytes=data.number("SizeBytes"),
        mode=data.number("Mode"),
        options=json.dumps(options, separators=(",", ":")) if options else "",
    )


def _show_tmpfs(options: TmpfsOptions | None) -> dict[str, Any] | None:
    if options is None:
        return None
    return omitempty(
        SizeBytes=options.size_bytes,
        Mode=options.mode,
        Options=_tmpfs_options(options.options),
    )


def _tmpfs_options(text: str) -> list[list[str]]:
    """The options as the API has them: pairs in JSON, or mount's own ``key=value,flag``."""
    if text.startswith("["):
        pairs: list[list[str]] = json.loads(text)
        return pairs
    return [part.split("=", 1) for part in text.split(",") if part]
