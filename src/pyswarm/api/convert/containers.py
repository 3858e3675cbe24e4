"""``ContainerSpec`` both ways: what a task runs.

What Docker refuses while it converts is refused here, with its sentences (moby
``daemon/cluster/convert/container.go``). What it repairs silently is repaired here: a mount without
a type is a bind mount, bind options that say nothing vanish, an unknown isolation is the default.
"""

from __future__ import annotations

import base64
from collections.abc import Collection
from typing import Any, NoReturn

from pyswarm.api.convert.mounts import mount_of, show_mount
from pyswarm.api.convert.parts import (
    Said,
    duration,
    duration_or_none,
    nonnull,
    omitempty,
    seconds,
    seconds_or_none,
)
from pyswarm.api.errors import Refused
from pyswarm.errors import InvalidArgument
from pyswarm.model import (
    ConfigReference,
    ContainerSpec,
    CredentialSpec,
    DNSConfig,
    Healthcheck,
    Privileges,
    SecretReference,
    SELinuxContext,
    Ulimit,
)

ISOLATIONS = ("process", "hyperv")
"""Any other word is Docker's ``default``."""


PLAIN = {
    "Image": "image",
    "Command": "command",
    "Args": "args",
    "Env": "env",
    "Dir": "dir",
    "User": "user",
    "Groups": "groups",
    "Hostname": "hostname",
    "Labels": "labels",
    "StopSignal": "stop_signal",
    "TTY": "tty",
    "OpenStdin": "open_stdin",
    "ReadOnly": "read_only",
    "Init": "init",
    "Hosts": "hosts",
    "Sysctls": "sysctls",
    "CapabilityAdd": "capability_add",
    "CapabilityDrop": "capability_drop",
    "OomScoreAdj": "oom_score_adj",
}
"""Fields that are the model's as they are."""


def container_of(data: Said, pids: int) -> ContainerSpec:
    """The container spec of a decoded body; ``pids`` comes from the resources' limits."""
    isolation = data.text("Isolation").lower()
    return ContainerSpec(
        **{"image": "", **data.plain(PLAIN)},
        privileges=_privileges_of(data.pointer("Privileges")),  # what is first wrong is told
        configs=tuple(_config_of(one) for one in data.each("Configs")),
        mounts=tuple(mount_of(one) for one in data.each("Mounts")),
        secrets=tuple(_secret_of(one) for one in data.each("Secrets")),
        stop_grace_period=seconds_or_none(data.given("StopGracePeriod")),
        healthcheck=_health_of(data.pointer("Healthcheck")),
        dns=_dns_of(data.pointer("DNSConfig")),
        isolation=isolation if isolation in ISOLATIONS else "",
        pids_limit=pids,
        ulimits=tuple(
            Ulimit(one.text("Name"), one.number("Soft"), one.number("Hard"))
            for one in data.each("Ulimits")
        ),
    )


def show_container(spec: ContainerSpec, given: Collection[str] = ()) -> dict[str, Any]:
    """The container spec in Engine JSON; registry credentials are never shown. ``given`` names what
    was said without content."""
    return {
        **omitempty(
            Image=spec.image,
            Labels=dict(spec.labels),
            Command=spec.command,
            Args=spec.args,
            Hostname=spec.hostname,
            Env=spec.env,
            Dir=spec.dir,
            User=spec.user,
            Groups=spec.groups,
        ),
        **nonnull(Privileges=_show_privileges(spec.privileges), Init=spec.init),
        **omitempty(
            StopSignal=spec.stop_signal,
            TTY=spec.tty,
            OpenStdin=spec.open_stdin,
            ReadOnly=spec.read_only,
            Mounts=[show_mount(mount, given) for mount in spec.mounts],
        ),
        **nonnull(
            StopGracePeriod=duration_or_none(spec.stop_grace_period),
            Healthcheck=_show_health(spec.healthcheck),
        ),
        **omitempty(Hosts=spec.hosts),
        **nonnull(DNSConfig=_show_dns(spec.dns)),
        **omitempty(
            Secrets=[_show_secret(ref) for ref in spec.secrets],
            Configs=[_show_config(ref) for ref in spec.configs],
            Isolation=spec.isolation or "default",
            Sysctls=dict(spec.sysctls),
            CapabilityAdd=spec.capability_add,
            CapabilityDrop=spec.capability_drop,
            Ulimits=[{"Name": u.name, "Hard": u.hard, "Soft": u.soft} for u in spec.ulimits],
            OomScoreAdj=spec.oom_score_adj,
        ),
    }


# -- references to secrets and configs


def _secret_of(data: Said) -> SecretReference:
    id, name = data.text("SecretID"), data.text("SecretName")
    return SecretReference(id, name, **_file_of("secret", data.pointer("File"), id and name))


def _config_of(data: Said) -> ConfigReference:
    id, name, file = data.text("ConfigID"), data.text("ConfigName"), data.pointer("File")
    if data.pointer("Runtime") is not None:
        if file is not None:
            raise InvalidArgument("invalid Config: cannot specify both File and Runtime")
        return ConfigReference(id, name, runtime=True)
    if file is None:
        raise InvalidArgument("invalid Config: either File or Runtime should be set")
    return ConfigReference(id, name, **_file_of("config", file, id and name))


def _file_of(kind: str, file: Said | None, named: str) -> dict[str, Any]:
    """Where the file goes. A reference without id or name is left to the managers to refuse."""
    if file is None:
        if named:
            _refuse_reference(f"malformed {kind} reference, no target provided")
        return {}
    if named and not file.text("Name"):
        _refuse_reference(f"malformed file {kind} reference, invalid target file name provided")
    return {
        "target": file.text("Name"),
        "uid": file.text("UID"),
        "gid": file.text("GID"),
        "mode": file.number("Mode"),
    }


def _refuse_reference(text: str) -> NoReturn:
    """The managers' refusal: to them, and to Python, a reference's own name is target enough."""
    raise Refused(400, f"rpc error: code = InvalidArgument desc = {text}")


def _show_secret(ref: SecretReference) -> dict[str, Any]:
    return {
        "File": _show_file(ref, ref.target or ref.secret_name),
        "SecretID": ref.secret_id,
        "SecretName": ref.secret_name,
    }


def _show_config(ref: ConfigReference) -> dict[str, Any]:
    if ref.runtime:
        target: dict[str, Any] = {"Runtime": {}}
    else:
        target = {"File": _show_file(ref, ref.target or ref.config_name)}
    return {**target, "ConfigID": ref.config_id, "ConfigName": ref.config_name}


def _show_file(ref: SecretReference | ConfigReference, name: str) -> dict[str, Any]:
    return {"Name": name, "UID": ref.uid, "GID": ref.gid, "Mode": ref.mode}


# -- health, DNS, privileges


def _health_of(data: Said | None) -> Healthcheck | None:
    if data is None:
        return None
    return Healthcheck(
        test=data.texts("Test"),
        interval=seconds(data.number("Interval")),
        timeout=seconds(data.number("Timeout")),
        retries=data.number("Retries"),
        start_period=seconds(data.number("StartPeriod")),
        start_interval=seconds(data.number("StartInterval")),
    )


def _show_health(check: Healthcheck | None) -> dict[str, Any] | None:
    if check is None:
        return None
    return omitempty(
        Test=check.test,
        Interval=duration(check.interval),
        Timeout=duration(check.timeout),
        StartPeriod=duration(check.start_period),
        StartInterval=duration(check.start_interval),
        Retries=check.retries,
    )


def _dns_of(data: Said | None) -> DNSConfig | None:
    if data is None:
        return None
    return DNSConfig(data.texts("Nameservers"), data.texts("Search"), data.texts("Options"))


def _show_dns(dns: DNSConfig | None) -> dict[str, Any] | None:
    if dns is None:
        return None
    return omitempty(Nameservers=dns.nameservers, Search=dns.search, Options=dns.options)


def _privileges_of(data: Said | None) -> Privileges | None:
    if data is None:
        return None
    selinux, seccomp, apparmor = (
        data.pointer("SELinuxContext"),
        data.pointer("Seccomp"),
        data.pointer("AppArmor"),
    )
    return Privileges(
        credential_spec=_credentials_of(data.pointer("CredentialSpec")),
        selinux_context=None
        if selinux is None
        else SELinuxContext(
            selinux.flag("Disable"),
            selinux.text("User"),
            selinux.text("Role"),
            selinux.text("Type"),
            selinux.text("Level"),
        ),
        seccomp_mode=seccomp.text("Mode") if seccomp is not None else "",
        seccomp_profile=seccomp.data("Profile") if seccomp is not None else b"",
        apparmor_mode=apparmor.text("Mode") if apparmor is not None else "",
        no_new_privileges=data.flag("NoNewPrivileges"),
    )


def _credentials_of(data: Said | None) -> CredentialSpec | None:
    if data is None:
        return None
    given = [f'"{key.lower()}"' for key in ("Config", "File", "Registry") if data.text(key)]
    refusal = ""
    if not given:
        refusal = 'must either provide "file", "registry", or "config" for credential spec'
    elif len(given) == 2:
        refusal = f"cannot specify both {given[0]} and {given[1]} credential specs"
    elif len(given) == 3:
        refusal = 'cannot specify both "config", "file", and "registry" credential specs'
    if refusal:
        raise InvalidArgument(f"invalid CredentialSpec: {refusal}")
    return CredentialSpec(data.text("File"), data.text("Registry"), data.text("Config"))


def _show_privileges(privileges: Privileges | None) -> dict[str, Any] | None:
    if privileges is None:
        return None
    credentials, selinux = privileges.credential_spec, privileges.selinux_context
    seccomp = omitempty(
        Mode=privileges.seccomp_mode,
        Profile=base64.b64encode(privileges.seccomp_profile).decode(),
    )
    return {
        "CredentialSpec": None
        if credentials is None
        else {
            "Config": credentials.config,
            "File": credentials.file,
            "Registry": credentials.registry,
        },
        "SELinuxContext": None
        if selinux is None
        else {
            "Disable": selinux.disable,
            "User": selinux.user,
            "Role": selinux.role,
            "Type": selinux.type,
            "Level": selinux.level,
        },
        **omitempty(
            Seccomp=seccomp,
            AppArmor=omitempty(Mode=privileges.apparmor_mode),
            NoNewPrivileges=privileges.no_new_privileges,
        ),
    }
