"""Where a node is in its network, and how it proves itself there.

A :class:`Place` is an address that is taken before the node runs. In memory that is all; over TLS
it comes with the node's certificate, kept in the node's own state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import trio

from pyswarm.agent import LogLine
from pyswarm.ca import JoinToken
from pyswarm.errors import FailedPrecondition, InvalidArgument
from pyswarm.model import Identity, NodeDescription, Swarm
from pyswarm.node.messages import JoinReply, JoinRequest
from pyswarm.node.record import NodeRecord
from pyswarm.runtime.clock import SystemClock
from pyswarm.runtime.disk import Disk
from pyswarm.runtime.front.logdesk import LogsEnough, LogsGiven, LogsWanted, Wish
from pyswarm.runtime.network import Network
from pyswarm.runtime.node import RunningNode
from pyswarm.runtime.observe import log_event
from pyswarm.runtime.tls import Credentials, NodeNetwork, TlsNetwork, addresses, joining, wire
from pyswarm.runtime.tls.exchange import JoinWanted
from pyswarm.runtime.tls.external import issue

NO_CERTIFICATE = "this node has no certificate: its swarm lived in memory"


@attrs.frozen
class Place:
    """A node's place in a network."""

    network: Network
    addr: str

    def prove(self, disk: Disk, credentials: Credentials | None) -> None:
        """Prove the node by these from now on, and after a restart."""
        if isinstance(self.network, NodeNetwork):
            assert credentials is not None
            self.network.credentials = credentials
            disk.certificates.put(credentials)

    def prove_again(self, disk: Disk, identity: Identity) -> None:
        """Prove the node by what its disk holds. Raises ``CertificateExpired``,
        ``ForeignCertificate`` and, where there is none, ``FailedPrecondition``."""
        if isinstance(self.network, NodeNetwork):
            credentials = disk.certificates.load()
            if credentials is None:
                raise FailedPrecondition(NO_CERTIFICATE, hint="join the swarm with a token")
            check_not_expired(credentials)
            credentials.check_own(identity, SystemClock().realtime())
            self.network.credentials = credentials

    def described(self, description: NodeDescription) -> NodeDescription:
        """With whom the node trusts here, and who signed for it."""
        if not isinstance(self.network, NodeNetwork) or self.network.credentials is None:
            return description
        return attrs.evolve(description, tls=self.network.credentials.tls)

    def close(self) -> None:
        """Leave it again: no node came."""
        if isinstance(self.network, NodeNetwork):
            self.network.close()


class CertificateExpired(FailedPrecondition):
    """The node's certificate ran out while it was stopped: no peer would hear it."""


def check_not_expired(credentials: Credentials) -> None:
    """Raise ``CertificateExpired``, with Docker's sentence."""
    if SystemClock().realtime() > credentials.certificate.not_after:
        raise CertificateExpired(
            "Swarm certificates have expired. To replace them, leave the swarm and join again.",
            hint="remove the state directory, and join with a token",
        )


def check_addresses(network: Network, listen: str | None, advertise: str | None) -> None:
    """Raise ``InvalidArgument`` for what can never be an address here."""
    if not isinstance(network, TlsNetwork):
        if listen is not None:
            raise InvalidArgument(
                "a listening address needs a network with sockets", hint="network=TlsNetwork()"
            )
        return
    found = addresses.listen_address(listen)
    if advertise is not None:
        addresses.advertise_address(advertise, attrs.evolve(found, port=found.port or 1))


def data_path_address(text: str) -> str:
    """Where traffic of networks reaches the node, as an IP address; "" stays. Raises
    ``InvalidArgument``."""
    return addresses.data_path_address(text) if text else ""


MOVED_HINT = (
    "let it advertise {} again; or demote it, let it leave and join anew; the only manager begins "
    "anew by force_new_cluster, and keeps what it has"
)


class ManagerMoved(FailedPrecondition):
    """A manager was started at another address than the one that its log gives it."""


def check_not_moved(place: Place, known_addr: str) -> None:
    """Raise ``ManagerMoved`` unless a manager is where the others will look for it. Workers may
    come back anywhere: their next session tells."""
    if isinstance(place.network, NodeNetwork) and place.addr != known_addr:
        raise ManagerMoved(
            f"the swarm knows this manager at {known_addr}, and it would be at {place.addr} now",
            hint=MOVED_HINT.format(known_addr),
        )


def preferred_address(network: Network, record: NodeRecord, listen: str | None) -> str:
    """Where a node that starts again, and is not told what to advertise, would like to be: where it
    was. A worker goes along with the host's address; a manager stays where its log says (it may be
    behind a NAT), and says what to do if that is wrong."""
    if not isinstance(network, TlsNetwork) or addresses.is_here(record.addr):
        return record.addr
    if listen is not None and not addresses.listen_address(listen).is_any:
        return record.addr  # the listening address says where
    if not record.member_id:
        return addresses.moved_address(record.addr)
    log_event(
        record.identity.node_id,
        "address.foreign",
        "warning",
        {
            "addr": record.addr,
            "hint": "this host does not have the address that the swarm knows its manager by: fine "
            "behind a NAT; " + MOVED_HINT.format(record.addr),
        },
    )
    return record.addr


def find_place(
    network: Network, listen: str | None, advertise: str | None, preferred: str | None = None
) -> Place:
    """A place as asked for, or where the node was before (``preferred``), or any free one."""
    if isinstance(network, TlsNetwork):
        own = network.for_node(listen, advertise, preferred)
        return Place(own, own.advertised)
    endpoint = network.attach(advertise or preferred, lambda: None, lambda *_: None)
    endpoint.close()
    return Place(network, endpoint.addr)


async def first_credentials(place: Place, swarm: Swarm, identity: Identity) -> Credentials | None:
    """A founder signs for itself: it has just made the authority, or has an external one."""
    if not isinstance(place.network, NodeNetwork):
        return None
    key, csr = joining.new_request()
    chain = await issue(
        swarm.root_ca,
        csr,
        identity,
        now=SystemClock().realtime(),
        expiry_s=swarm.spec.ca.node_cert_expiry,
        external=place.network.external_ca,
    )
    return Credentials(key, chain, swarm.root_ca.cert)


async def join_by_certificate(
    network: TlsNetwork,
    listen: str | None,
    advertise: str | None,
    remotes: Sequence[str],
    request: JoinRequest,
) -> tuple[Place, JoinReply, Credentials]:
    """Pin the root, take a place, and become a member. Raises what the swarm answered,
    ``FingerprintMismatch`` and ``Unavailable``."""
    for remote in remotes:
        addresses.split(remote)
    root, local_host = await joining.pinned_root(remotes, JoinToken.parse(request.token))
    if advertise is None and addresses.listen_address(listen).is_any:
        advertise = local_host  # what reaches the managers is what they can reach
    place = find_place(network, listen, advertise)
    try:
        key, csr = joining.new_request()
        wanted = JoinWanted(
            request.request_id,
            request.token,
            place.addr,
            request.description,
            csr,
            request.availability,
        )
        given, credentials = await joining.join(remotes, root, wanted, key)
    except BaseException:
        place.close()
        raise
    reply = JoinReply(given.request_id, given.node_id, given.role, given.swarm_id, given.managers)
    return place, reply, credentials


def refusals(
    say: Callable[[str, str, dict[str, Any]], None],
) -> Callable[[str, dict[str, Any]], None]:
    """Says what an endpoint refuses: strangers may say what they like, but of a member that is not
    understood somebody should hear, once."""
    known: dict[str, str] = {}

    def refused(reason: str, fields: dict[str, Any]) -> None:
        node, error = fields.get("node", ""), fields.get("error", "")
        is_news = reason == "garbage" and bool(node) and known.get(node) != error
        if is_news:
            known[node] = error
        say("peer.refused", "warning" if is_news else "debug", {"reason": reason, **fields})

    return refused


def start_certificates(
    network: Network, node: RunningNode, disk: Disk, nursery: trio.Nursery
) -> None:
    """Give certificates to others (as a manager), and keep the own one fresh."""
    if not isinstance(network, NodeNetwork):
        return
    from pyswarm.runtime.tls.registrar import Registrar, Renewer

    endpoint = network.endpoint
    assert endpoint is not None

    def say(event: str, level: str, fields: dict[str, Any]) -> None:
        log_event(node.machine.config.description.hostname, event, level, fields)
        node.observer.event(event, fields)

    def late(fields: dict[str, Any]) -> None:
        say("certificate.late", "warning", fields)

    endpoint.on_refused = refusals(say)
    registrar = Registrar(node, endpoint, nursery)
    nursery.start_soon(Renewer(node, endpoint, registrar, disk.certificates, late).run)


# -- the desk's messages over a wire

_STREAMS = ("stdout", "stderr")


def _encode_given(given: LogsGiven) -> Any:
    lines = [(line.stream, line.time, line.data) for line in given.lines]
    return (given.stream, given.question, lines, given.ended, given.error)


def _decode_given(content: Any) -> LogsGiven:
    stream, question, lines, ended, error = content
    check = wire.check_plain
    if error is not None:
        check(error, dict)
        check(error.get("details"), dict)
    return LogsGiven(
        check(stream, int),
        check(question, int),
        tuple([_decode_line(*line) for line in lines]),
        check(ended, bool),
        error,
    )


def _decode_line(stream: Any, time: Any, data: Any) -> LogLine:
    if stream not in _STREAMS:
        raise InvalidArgument("a line of an unknown stream")
    return LogLine(stream, wire.check_plain(time, float, int), wire.check_plain(data, bytes))


def _decode_wanted(content: Any) -> LogsWanted:
    stream, question, task_id, since, follow, tail, stdout, stderr = content
    check = wire.check_plain
    wish = Wish(
        check(task_id, str),
        check(since, float, int),
        check(follow, bool),
        None if tail is None else check(tail, int),
        check(stdout, bool),
        check(stderr, bool),
    )
    return LogsWanted(check(stream, int), check(question, int), wish)


wire.register(
    40,
    LogsWanted,
    wire.Sender.MANAGER,
    encode=lambda asked: (asked.stream, asked.question, *attrs.astuple(asked.wish)),
    decode=_decode_wanted,
)
wire.register(41, LogsEnough, wire.Sender.MANAGER)
wire.register(
    42,
    LogsGiven,
    wire.Sender.MEMBER,
    lane=wire.Lane.BULK,
    encode=_encode_given,
    decode=_decode_given,
)
