"""The authority and what it signs, down to the fields."""

from __future__ import annotations

import json
import ssl
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pyswarm.ca import (
    CertificateRejected,
    Identity,
    InvalidCertificate,
    NodeCertificate,
    RootCA,
    create_csr,
    create_key,
    lock_key,
    unlock_key,
)
from pyswarm.ca.certificate import at, dump_bundle, load_bundle
from pyswarm.ca.keys import dump_key, load_key, public_der, public_key_of
from pyswarm.env import Rng
from pyswarm.errors import FailedPrecondition, Unauthenticated
from pyswarm.model.states import Role

NOW = 1_795_370_897.5
DAY = 86_400.0
ROOT = RootCA.create(NOW, entropy=Rng("root").bytes)
OTHER = RootCA.create(NOW, entropy=Rng("other").bytes)
KEY = create_key(Rng("node").bytes)
CSR = create_csr(KEY)
MANAGER = Identity("manager0000000000000000id", Role.MANAGER, "swarm00000000000000000000")
WORKER = attrs.evolve(MANAGER, node_id="worker00000000000000000id", role=Role.WORKER)


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)


def self_signed(key: object, algorithm: object, *, ca: bool = True, days: int = 4000) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "given")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 7)  # type: ignore[attr-defined]
        .not_valid_before(at(NOW - DAY))
        .not_valid_after(at(NOW + days * DAY))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(key, algorithm)  # type: ignore[arg-type]
    )
    return dump_bundle([certificate])


def test_a_new_root() -> None:
    (certificate,) = load_bundle(ROOT.cert_pem)
    assert certificate.subject.rfc4514_string() == "CN=swarm-ca"
    assert certificate.issuer == certificate.subject
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert lifetime.total_seconds() == 630_720_000
    assert moment(NOW - 360) <= certificate.not_valid_before_utc <= moment(NOW - 300)
    public = certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert public.curve.name == "secp256r1"
    assert ROOT.digest != OTHER.digest
    assert len(ROOT.digest) == 50


def test_a_new_root_has_the_fields_of_a_recorded_one() -> None:
    golden = Path(__file__).parents[2] / "golden" / "api" / "swarm.json"
    swarm = json.loads(golden.read_text(encoding="utf-8"))["response"]
    recorded = swarm["TLSInfo"]["TrustRoot"].encode()
    (theirs,), (ours,) = load_bundle(recorded), load_bundle(ROOT.cert_pem)
    assert [(e.oid, e.critical) for e in ours.extensions] == [
        (e.oid, e.critical) for e in theirs.extensions
    ]
    for kind in (x509.KeyUsage, x509.BasicConstraints):
        assert (
            ours.extensions.get_extension_for_class(kind).value
            == theirs.extensions.get_extension_for_class(kind).value
        )
    assert ours.signature_algorithm_oid == theirs.signature_algorithm_oid
    assert (
        theirs.not_valid_after_utc - theirs.not_valid_before_utc
        == ours.not_valid_after_utc - ours.not_valid_before_utc
    )


def test_keys_come_from_the_entropy_handed_in() -> None:
    assert create_key(Rng(5).bytes) == create_key(Rng(5).bytes)
    assert create_key(Rng(5).bytes) != create_key(Rng(6).bytes)
    assert create_key() != create_key()
    for extreme in (bytes, lambda size: b"\xff" * size):
        assert load_key(create_key(extreme))
    assert KEY.startswith(b"-----BEGIN PRIVATE KEY-----")


@pytest.mark.parametrize(
    ("identity", "unit", "names"),
    [
        (MANAGER, "swarm-manager", ("swarm-manager", MANAGER.node_id, "swarm-ca")),
        (WORKER, "swarm-worker", ("swarm-worker", WORKER.node_id)),
    ],
)
def test_a_node_certificate(identity: Identity, unit: str, names: tuple[str, ...]) -> None:
    chain = ROOT.sign(CSR, identity, NOW)
    (leaf,) = load_bundle(chain)
    assert leaf.subject.rfc4514_string() == (
        f"CN={identity.node_id},OU={unit},O={identity.swarm_id}"
    )
    assert leaf.issuer.rfc4514_string() == "CN=swarm-ca"
    assert leaf.not_valid_before_utc == moment(NOW - 3600)
    assert leaf.not_valid_after_utc == moment(NOW + 90 * DAY)
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_encipherment) == (True, True)
    assert not usage.key_cert_sign
    extended = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(extended) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert public_der(public_key_of(leaf)) == public_der(load_key(KEY).public_key())
    certificate = ROOT.verify(chain, NOW)
    assert certificate == NodeCertificate.parse(chain)
    assert certificate.identity == identity
    assert certificate.dns_names == names
    assert (certificate.not_before, certificate.not_after) == (
        int(NOW - 3600),
        int(NOW + 90 * DAY),
    )
    assert certificate.issuer(ROOT.cert_pem) == ROOT.issuer


def test_the_requests_subject_is_ignored() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "swarm-manager")])
    request = x509.CertificateSigningRequestBuilder(name).sign(key, hashes.SHA256())
    pem = request.public_bytes(Encoding.PEM)
    assert ROOT.verify(ROOT.sign(pem, WORKER, NOW), NOW).identity == WORKER


@pytest.mark.parametrize(
    ("asked", "given"), [(3600, 3600), (3599, 90 * DAY), (0, 90 * DAY), (7 * DAY, 7 * DAY)]
)
def test_expiry(asked: float, given: float) -> None:
    certificate = NodeCertificate.parse(ROOT.sign(CSR, WORKER, NOW, asked))
    assert certificate.not_after - certificate.not_before == given + 3600


def test_two_signatures_differ_in_their_serial() -> None:
    first, second = (NodeCertificate.parse(ROOT.sign(CSR, WORKER, NOW)) for _ in range(2))
    assert first.serial != second.serial
    assert all(0 < certificate.serial < 1 << 159 for certificate in (first, second))


@pytest.mark.parametrize("csr", [b"", b"nonsense", KEY])
def test_what_is_no_request(csr: bytes) -> None:
    with pytest.raises(InvalidCertificate):
        ROOT.sign(csr, WORKER, NOW)


def test_a_request_proves_its_key() -> None:
    body = bytearray(b64decode(b"".join(CSR.splitlines()[1:-1])))
    body[-1] ^= 1
    lines = [b"-----BEGIN CERTIFICATE REQUEST-----", b64encode(bytes(body))]
    forged = b"\n".join([*lines, b"-----END CERTIFICATE REQUEST-----", b""])
    with pytest.raises(InvalidCertificate, match="prove"):
        ROOT.sign(forged, WORKER, NOW)


def test_a_weak_request_is_refused() -> None:
    weak = ec.generate_private_key(ec.SECP224R1())
    request = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(weak, hashes.SHA256())
    with pytest.raises(InvalidCertificate, match="unsupported ECDSA key parameters"):
        ROOT.sign(request.public_bytes(Encoding.PEM), WORKER, NOW)


def test_a_root_without_its_key() -> None:
    trusting = RootCA.load(ROOT.cert_pem)
    assert trusting.digest == ROOT.digest
    with pytest.raises(FailedPrecondition):
        trusting.sign(CSR, WORKER, NOW)
    assert trusting.verify(ROOT.sign(CSR, WORKER, NOW), NOW).identity == WORKER


def test_load_takes_what_was_stored() -> None:
    assert RootCA.load(ROOT.cert_pem, ROOT.key_pem) == ROOT
    bundle = RootCA.load(ROOT.cert_pem + OTHER.cert_pem, ROOT.key_pem)
    assert bundle.digest not in (ROOT.digest, OTHER.digest)
    assert bundle.verify(OTHER.sign(CSR, WORKER, NOW), NOW).identity == WORKER
    assert ROOT.verify(bundle.sign(CSR, WORKER, NOW), NOW).identity == WORKER


@pytest.mark.parametrize(
    ("key", "algorithm", "message"),
    [
        (ec.generate_private_key(ec.SECP521R1()), hashes.SHA512(), None),
        (ec.generate_private_key(ec.SECP384R1()), hashes.SHA384(), None),
        (rsa.generate_private_key(65537, 2048), hashes.SHA256(), None),
        (rsa.generate_private_key(65537, 1024), hashes.SHA256(), "unsupported RSA key parameters"),
        (
            ec.generate_private_key(ec.SECP224R1()),
            hashes.SHA256(),
            "unsupported ECDSA key parameters",
        ),
        (
            ed25519.Ed25519PrivateKey.generate(),
            None,
            "unsupported signature algorithm: 1.3.101.112",
        ),
        (
            ec.generate_private_key(ec.SECP256R1()),
            hashes.SHA224(),
            "unsupported signature algorithm: 1.2.840.10045.4.3.1",
        ),
    ],
)
def test_supplied_roots(key: object, algorithm: object, message: str | None) -> None:
    cert_pem = self_signed(key, algorithm)
    if message is not None:
        with pytest.raises(InvalidCertificate) as refused:
            RootCA.load(cert_pem)
        assert str(refused.value) == message
        return
    root = RootCA.load(cert_pem, dump_key(key))  # type: ignore[arg-type]
    assert root.verify(root.sign(CSR, WORKER, NOW), NOW).identity == WORKER


def test_load_refuses() -> None:
    with pytest.raises(InvalidCertificate, match=r"^certificate key mismatch$"):
        RootCA.load(ROOT.cert_pem, KEY)
    for nonsense in (b"", b"nonsense", KEY):
        with pytest.raises(InvalidCertificate):
            RootCA.load(nonsense)
    with pytest.raises(InvalidCertificate):
        RootCA.load(ROOT.cert_pem, b"nonsense")
    leaf = self_signed(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256(), ca=False)
    with pytest.raises(InvalidCertificate, match="authority"):
        RootCA.load(leaf)


def test_verify_refuses() -> None:
    chain = ROOT.sign(CSR, WORKER, NOW)
    with pytest.raises(CertificateRejected, match="not signed by"):
        OTHER.verify(chain, NOW)
    with pytest.raises(CertificateRejected, match="expired"):
        ROOT.verify(chain, NOW + 91 * DAY)
    with pytest.raises(CertificateRejected, match="not valid yet"):
        ROOT.verify(chain, NOW - 2 * 3600)
    with pytest.raises(CertificateRejected, match="too long"):
        OTHER.verify(chain + chain * 9, NOW)
    with pytest.raises(CertificateRejected, match="not signed by"):
        OTHER.verify(chain + ROOT.cert_pem + ROOT.cert_pem, NOW)
    with pytest.raises(InvalidCertificate, match="no node"):
        ROOT.verify(ROOT.cert_pem, NOW)


def test_a_node_signs_for_nobody() -> None:
    """A leaf used as an intermediate does not lead to the root."""
    chain = ROOT.sign(CSR, MANAGER, NOW)
    (leaf,) = load_bundle(chain)
    victim = load_key(create_key())
    forged = (
        x509.CertificateBuilder(leaf.subject, leaf.subject, victim.public_key(), 5)
        .not_valid_before(at(NOW - 60))
        .not_valid_after(at(NOW + 60))
        .sign(load_key(KEY), hashes.SHA256())
    )
    with pytest.raises(CertificateRejected):
        ROOT.verify(dump_bundle([forged]) + chain, NOW)


def test_nothing_shows_a_key() -> None:
    assert ROOT.key_pem is not None
    inside = ROOT.key_pem.splitlines()[1].decode()
    rotation = ROOT.rotate(NOW, to=OTHER)
    for shown in (repr(ROOT), repr(rotation), repr(rotation.signer), str(ROOT)):
        assert inside not in shown
        assert "PRIVATE KEY" not in shown


def test_a_root_is_named_by_its_digest() -> None:
    assert repr(ROOT) == f"<RootCA {ROOT.digest}>"
    assert repr(RootCA(ROOT.cert_pem)) == f"<RootCA {ROOT.digest}, without its key>"


def test_a_locked_key() -> None:
    locked = lock_key(KEY, b"SWMKEY-1-something")
    assert b"ENCRYPTED PRIVATE KEY" in locked
    assert unlock_key(locked, b"SWMKEY-1-something") == KEY
    with pytest.raises(Unauthenticated):
        unlock_key(locked, b"SWMKEY-1-another")
    with pytest.raises(InvalidCertificate):
        unlock_key(KEY, b"SWMKEY-1-something")
    with pytest.raises(InvalidCertificate):
        load_key(locked)


def handshake(
    server: tuple[bytes, bytes], client: tuple[bytes, bytes], trusted: bytes, tmp_path: Path
) -> Mapping[str, object]:
    """A whole TLS handshake in memory; the client's certificate as the server saw it."""
    contexts = []
    for at_server, (chain, key) in ((True, server), (False, client)):
        file = tmp_path / f"{at_server}.pem"
        file.write_bytes(chain + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if at_server else ssl.PROTOCOL_TLS_CLIENT)
        context.load_cert_chain(file)
        context.load_verify_locations(cadata=trusted.decode())
        context.verify_mode = ssl.CERT_REQUIRED
        contexts.append(context)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        contexts[0].wrap_bio(up, down, server_side=True),
        contexts[1].wrap_bio(down, up, server_hostname="swarm-manager"),
    ]
    waiting = [*ends]
    for _ in range(10):
        for end in [*waiting]:
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
    assert not waiting
    seen = ends[0].getpeercert()
    assert seen is not None
    return seen


def test_tls_accepts_them_during_a_rotation_too(tmp_path: Path) -> None:
    now = time.time()  # OpenSSL compares with the real clock
    root = RootCA.create(now)
    signer = root.rotate(now).signer
    manager = signer.sign(CSR, MANAGER, now)
    worker_key = create_key()
    worker = root.sign(create_csr(worker_key), WORKER, now)
    seen = handshake((manager, KEY), (worker, worker_key), root.cert_pem, tmp_path)
    assert (("commonName", WORKER.node_id),) in seen["subject"]  # type: ignore[operator]
    seen = handshake((root.sign(CSR, MANAGER, now), KEY), (manager, KEY), root.cert_pem, tmp_path)
    assert (("commonName", MANAGER.node_id),) in seen["subject"]  # type: ignore[operator]
