"""The swarm as a whole: found it, join it, leave it, unlock it, change it, show it."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from pyswarm.api.asks import ChangeSwarm, Host, Live, Read, ShowUnlockKey
from pyswarm.api.bodies import (
    BOOL,
    STRING,
    UINT32,
    List,
    Struct,
    decode,
)
from pyswarm.api.errors import Refused
from pyswarm.api.filters import is_true, strict_bool, version_of
from pyswarm.api.hosting import (
    AlreadyInSwarm,
    HostState,
    HostStatus,
    InitSwarm,
    JoinSwarm,
    LeaveSwarm,
    UnlockSwarm,
)
from pyswarm.api.messages import Conversation, HttpRequest, Response, Route
from pyswarm.api.rendering import answer, time_text
from pyswarm.api.swarmspec import SPEC, spec_from, spec_json
from pyswarm.errors import InvalidArgument
from pyswarm.model import Swarm, SwarmSpec, TLSInfo
from pyswarm.model.validate import validate_swarm_spec
from pyswarm.store import Reader

DEFAULT_POOLS = ("10.0.0.0/8",)
SUBNET_SIZE = 24
ANYWHERE = "0.0.0.0"
AVAILABILITIES = ("", "active", "pause", "drain")

NO_ROOT_AT_INIT = (
    "a root of your own cannot be given to a new swarm: hand it in afterwards, with docker swarm "
    "ca --rotate --ca-cert"
)

INIT = Struct(
    "swarm.InitRequest",
    ListenAddr=STRING,
    AdvertiseAddr=STRING,
    DataPathAddr=STRING,
    DataPathPort=UINT32,
    ForceNewCluster=BOOL,
    Spec=SPEC,
    AutoLockManagers=BOOL,
    Availability=STRING,
    DefaultAddrPool=List(STRING),
    SubnetSize=UINT32,
)
JOIN = Struct(
    "swarm.JoinRequest",
    ListenAddr=STRING,
    AdvertiseAddr=STRING,
    DataPathAddr=STRING,
    RemoteAddrs=List(STRING),
    JoinToken=STRING,
    Availability=STRING,
)
UNLOCK = Struct("swarm.UnlockRequest", UnlockKey=STRING)

DONE = Response(200, content_type="")


# -- in and out


def init(request: HttpRequest) -> Conversation:
    """Found a swarm; the answer is this node's id."""
    body = decode(request, INIT)
    if not body.get("ForceNewCluster"):
        yield from _outside()
    listen = _listen_addr(body)
    pools = tuple(body.get("DefaultAddrPool", ()))
    size = body.get("SubnetSize", 0) or SUBNET_SIZE
    spec = body.get("Spec", {})
    if body.get("AutoLockManagers"):
        encryption = {**spec.get("EncryptionConfig", {}), "AutoLockManagers": True}
        spec = {**spec, "EncryptionConfig": encryption}
    if spec.get("CAConfig", {}).get("SigningCACert"):
        raise Refused(400, NO_ROOT_AT_INIT)
    settings = spec_from(spec)
    availability = _availability(body)
    _check_settings(settings)
    node_id = yield Host(
        "init",
        InitSwarm(
            listen_addr=listen,
            advertise_addr=body.get("AdvertiseAddr", ""),
            data_path_addr=body.get("DataPathAddr", ""),
            data_path_port=body.get("DataPathPort", 0),
            default_addr_pools=pools or DEFAULT_POOLS,
            subnet_size=size,
            force_new_cluster=body.get("ForceNewCluster", False),
            availability=availability,
            spec=settings,
        ),
    )
    return answer(node_id)


def _check_settings(spec: SwarmSpec) -> None:
    """Refuse settings that make no sense in Docker's words, which founds the swarm first."""
    try:
        validate_swarm_spec(spec)
    except InvalidArgument as error:
        text = f"rpc error: code = InvalidArgument desc = {error.message}"
        raise Refused(500, f"error updating cluster settings: {text}") from None


def _outside() -> Any:
    """``AlreadyInSwarm`` unless this host is in none; said before anything else is checked."""
    status: HostStatus = yield Host("status")
    if status.state is not HostState.INACTIVE:
        raise AlreadyInSwarm()


def _listen_addr(body: dict[str, Any]) -> str:
    """Where to listen; ``:2377`` is anywhere."""
    said: str = body.get("ListenAddr", "")
    if not said:
        raise Refused(400, 'invalid ListenAddr "": invalid empty address')
    return f"{ANYWHERE}{said}" if said.startswith(":") else said


def _availability(body: dict[str, Any]) -> str:
    said: str = body.get("Availability", "")
    if said not in AVAILABILITIES:
        raise Refused(500, f'invalid Availability: "{said}"')
    return said or "active"


def join(request: HttpRequest) -> Conversation:
    """Become a node of a swarm; the token decides in which role."""
    body = decode(request, JOIN)
    yield from _outside()
    listen = _listen_addr(body)
    remotes = tuple(one or "" for one in body.get("RemoteAddrs", ()))
    if not remotes:
        raise Refused(400, "at least 1 RemoteAddr is required to join")
    if "" in remotes:
        raise Refused(400, 'invalid remoteAddr "": invalid empty address')
    yield Host(
        "join",
        JoinSwarm(
            listen_addr=listen,
            remote_addrs=remotes,
            token=body.get("JoinToken", ""),
            advertise_addr=body.get("AdvertiseAddr", ""),
            data_path_addr=body.get("DataPathAddr", ""),
            availability=_availability(body),
        ),
    )
    return DONE


def leave(request: HttpRequest) -> Conversation:
    """Give membership up; a manager needs force."""
    yield Host("leave", LeaveSwarm(is_true(request.param("force"))))
    return DONE


def unlock(request: HttpRequest) -> Conversation:
    """Start the manager whose disk is locked."""
    body = decode(request, UNLOCK)
    yield Host("unlock", UnlockSwarm(body.get("UnlockKey", "")))
    return DONE


# -- as it is


def inspect(request: HttpRequest) -> Conversation:
    """The swarm's object with its join tokens."""
    body = yield Read(_shown)
    return Response(200, body)


def _shown(store: Reader, live: Live) -> bytes:
    return live.rendered.of(store.swarm, _with_tokens) + b"\n"


def _with_tokens(swarm: Swarm) -> dict[str, Any]:
    root = swarm.root_ca
    tokens = {"Worker": root.worker_token, "Manager": root.manager_token}
    return {**swarm_json(swarm), "JoinTokens": tokens}


def swarm_json(swarm: Swarm) -> dict[str, Any]:
    """The swarm's object as ``info`` shows it, without tokens."""
    return {
        "ID": swarm.id,
        "Version": {"Index": swarm.version},
        "CreatedAt": time_text(swarm.created_at),
        "UpdatedAt": time_text(swarm.updated_at),
        "Spec": spec_json(swarm.spec),
        "TLSInfo": tls_info_json(swarm.root_ca.tls),
        "RootRotationInProgress": swarm.root_ca.rotation is not None,
        "DefaultAddrPool": list(swarm.default_addr_pools),
        "SubnetSize": swarm.subnet_size,
        "DataPathPort": swarm.data_path_port,
    }


def tls_info_json(info: TLSInfo) -> dict[str, Any]:
    """Whom a node, or the swarm, trusts and who signs."""
    return {
        "TrustRoot": info.trust_root.decode("ascii", "replace"),
        "CertIssuerSubject": b64encode(info.issuer_subject).decode(),
        "CertIssuerPublicKey": b64encode(info.issuer_public_key).decode(),
    }


# -- changed


ROTATIONS = ("rotateWorkerToken", "rotateManagerToken", "rotateManagerUnlockKey")


def update(request: HttpRequest) -> Conversation:
    """New settings, all of them; fresh tokens and keys where the query says so."""
    body = decode(request, SPEC)
    version = version_of(request, "swarm")
    worker, manager, key = (_rotation(request, name) for name in ROTATIONS)
    try:
        spec = spec_from(body)
    except Refused:
        yield Read(lambda *_: None)  # who cannot be asked about the swarm is told that first
        raise
    yield ChangeSwarm(version, spec, worker, manager, key)
    return DONE


def _rotation(request: HttpRequest, name: str) -> bool:
    text = request.param(name)
    found = strict_bool(text) if text else False
    if found is None:
        raise Refused(400, f"invalid value for {name}: {text}")
    return found


def unlock_key(request: HttpRequest) -> Conversation:
    """The key that unlocks managers; "" while autolock is off."""
    key = yield ShowUnlockKey()
    return answer({"UnlockKey": key})


ROUTES: tuple[Route, ...] = (
    Route("GET", "/swarm", inspect),
    Route("POST", "/swarm/init", init),
    Route("POST", "/swarm/join", join),
    Route("POST", "/swarm/leave", leave),
    Route("POST", "/swarm/update", update),
    Route("GET", "/swarm/unlockkey", unlock_key),
    Route("POST", "/swarm/unlock", unlock),
)
