"""The Docker Engine API as pure functions: HTTP request in, a conversation, HTTP response out.

A handler is a generator: it *asks* (a read of the store, a command, something of the host) by
yielding a value of :mod:`pyswarm.api.asks`, is given the answer or has the typed error raised at
the ``yield``, and returns a :class:`Response` or a :class:`Streamed`. So every answer of the API
can be tested without a socket, and the runtime has one small loop that serves them all.
"""

from pyswarm.api.messages import HttpRequest as HttpRequest
from pyswarm.api.messages import Response as Response
from pyswarm.api.messages import Route as Route
from pyswarm.api.messages import Streamed as Streamed

__all__ = ["HttpRequest", "Response", "Route", "Streamed"]
