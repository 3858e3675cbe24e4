"""The swarm's settings as the API writes them, both ways.

Docker takes an update's spec as it is: what is left out, or zero, becomes the default.
"""

from __future__ import annotations

from typing import Any

from pyswarm.api.bodies import BOOL, DURATION, INT, INT64, STRING, UINT64, List, Map, Struct
from pyswarm.api.convert.parts import omitempty
from pyswarm.api.errors import Refused
from pyswarm.api.rendering import nanoseconds
from pyswarm.model import CAConfig, ExternalCA, LogDriver, RaftSettings, SwarmSpec

PROTOCOLS = ("cfssl",)

SPEC = Struct(
    "swarm.Spec",
    Name=STRING,
    Labels=Map(STRING),
    Orchestration=Struct("swarm.OrchestrationConfig", TaskHistoryRetentionLimit=INT64),
    Raft=Struct(
        "swarm.RaftConfig",
        SnapshotInterval=UINT64,
        KeepOldSnapshots=UINT64,
        LogEntriesForSlowFollowers=UINT64,
        ElectionTick=INT,
        HeartbeatTick=INT,
    ),
    Dispatcher=Struct("swarm.DispatcherConfig", HeartbeatPeriod=DURATION),
    CAConfig=Struct(
        "swarm.CAConfig",
        NodeCertExpiry=DURATION,
        ExternalCAs=List(
            Struct(
                "swarm.ExternalCA",
                Protocol=STRING,
                URL=STRING,
                Options=Map(STRING),
                CACert=STRING,
            )
        ),
        SigningCACert=STRING,
        SigningCAKey=STRING,
        ForceRotate=UINT64,
    ),
    TaskDefaults=Struct(
        "swarm.TaskDefaults", LogDriver=Struct("swarm.Driver", Name=STRING, Options=Map(STRING))
    ),
    EncryptionConfig=Struct("swarm.EncryptionConfig", AutoLockManagers=BOOL),
)

_NOTHING = SwarmSpec()


def spec_from(body: dict[str, Any]) -> SwarmSpec:
    """The settings that a decoded body means; ``Refused`` for those of no swarm."""
    limit = body.get("Orchestration", {}).get("TaskHistoryRetentionLimit")
    period = body.get("Dispatcher", {}).get("HeartbeatPeriod", 0)
    driver = body.get("TaskDefaults", {}).get("LogDriver")
    log = LogDriver(driver.get("Name", ""), driver.get("Options", {})) if driver else None
    if body.get("Name") not in (None, "", _NOTHING.name):
        raise Refused(400, f'swarm spec must be named "{_NOTHING.name}"')
    return SwarmSpec(
        name=_NOTHING.name,
        labels=body.get("Labels", {}),
        task_history_retention_limit=(
            _NOTHING.task_history_retention_limit if limit is None else limit
        ),
        raft=_raft(body.get("Raft", {})),
        heartbeat_period=period / 1e9 if period else _NOTHING.heartbeat_period,
        ca=_ca(body.get("CAConfig", {})),
        autolock=body.get("EncryptionConfig", {}).get("AutoLockManagers", False),
        default_log_driver=log,
    )


def _raft(body: dict[str, Any]) -> RaftSettings:
    default = _NOTHING.raft
    return RaftSettings(
        snapshot_interval=body.get("SnapshotInterval") or default.snapshot_interval,
        keep_old_snapshots=body.get("KeepOldSnapshots", default.keep_old_snapshots),
        log_entries_for_slow_followers=(
            body.get("LogEntriesForSlowFollowers") or default.log_entries_for_slow_followers
        ),
        heartbeat_tick=body.get("HeartbeatTick") or default.heartbeat_tick,
        election_tick=body.get("ElectionTick") or default.election_tick,
    )


def _ca(body: dict[str, Any]) -> CAConfig:
    expiry = body.get("NodeCertExpiry", 0)
    return CAConfig(
        node_cert_expiry=expiry / 1e9 if expiry else _NOTHING.ca.node_cert_expiry,
        external_cas=tuple(_external(one or {}) for one in body.get("ExternalCAs", ())),
        signing_ca_cert=body.get("SigningCACert", "").encode(),
        signing_ca_key=body.get("SigningCAKey", "").encode(),
        force_rotate=body.get("ForceRotate", 0),
    )


def _external(body: dict[str, Any]) -> ExternalCA:
    protocol = body.get("Protocol", "")
    if protocol.lower() not in PROTOCOLS:
        raise Refused(400, f'invalid protocol: "{protocol}"')
    return ExternalCA(
        url=body.get("URL", ""),
        protocol=protocol.lower(),
        options=body.get("Options", {}),
        ca_cert=body.get("CACert", "").encode(),
    )


def spec_json(spec: SwarmSpec) -> dict[str, Any]:
    """The settings as the API shows them; a root that was handed in, never."""
    raft = spec.raft
    return {
        "Name": spec.name,
        "Labels": dict(spec.labels),
        "Orchestration": {"TaskHistoryRetentionLimit": spec.task_history_retention_limit},
        "Raft": {
            "SnapshotInterval": raft.snapshot_interval,
            "KeepOldSnapshots": raft.keep_old_snapshots,
            "LogEntriesForSlowFollowers": raft.log_entries_for_slow_followers,
            "ElectionTick": raft.election_tick,
            "HeartbeatTick": raft.heartbeat_tick,
        },
        "Dispatcher": {"HeartbeatPeriod": nanoseconds(spec.heartbeat_period)},
        "CAConfig": _ca_json(spec.ca),
        "TaskDefaults": _defaults_json(spec.default_log_driver),
        "EncryptionConfig": {"AutoLockManagers": spec.autolock},
    }


def _ca_json(ca: CAConfig) -> dict[str, Any]:
    shown: dict[str, Any] = {"NodeCertExpiry": nanoseconds(ca.node_cert_expiry)}
    if ca.external_cas:
        shown["ExternalCAs"] = [
            {
                "Protocol": one.protocol,
                "URL": one.url,
                **omitempty(Options=dict(one.options)),
                "CACert": one.ca_cert.decode("ascii", "replace"),
            }
            for one in ca.external_cas
        ]
    if ca.force_rotate:
        shown["ForceRotate"] = ca.force_rotate
    return shown


def _defaults_json(driver: LogDriver | None) -> dict[str, Any]:
    if driver is None:
        return {}
    options = {"Options": dict(driver.options)} if driver.options else {}
    return {"LogDriver": {"Name": driver.name, **options}}
