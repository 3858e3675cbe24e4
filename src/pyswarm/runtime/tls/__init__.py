"""Nodes of different processes and hosts: mutual TLS, and nothing trusted but certificates.

Read in this order: ``wire`` (messages as bytes, and who may say them), ``frames`` (bytes on a
connection), ``credentials``, ``exchange`` (what is said about certificates), ``connection``,
``endpoint`` (links to peers), ``addresses``, ``network``; then ``joining`` and ``registrar`` (how
certificates are asked for and given), and ``external`` (where somebody else signs).
"""

from __future__ import annotations

from .credentials import Credentials as Credentials
from .endpoint import TlsEndpoint as TlsEndpoint
from .external import ExternalCA as ExternalCA
from .external import ExternalCAFailed as ExternalCAFailed
from .external import SigningRequest as SigningRequest
from .network import NodeNetwork as NodeNetwork
from .network import TlsNetwork as TlsNetwork

__all__ = [
    "Credentials",
    "ExternalCA",
    "ExternalCAFailed",
    "NodeNetwork",
    "SigningRequest",
    "TlsEndpoint",
    "TlsNetwork",
]
