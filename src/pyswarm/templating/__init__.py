"""Swarm's templates: Go's text/template syntax, read by us and run in jinja2's sandbox.

Read in this order: ``lexer`` and ``parser`` (from text to the tree of ``syntax``), ``values``,
``functions`` and ``formats`` (what a template works on and may call), ``translate`` (from the tree
to one of jinja2's), ``engine`` (running it within bounds), ``task`` (what the placeholders of a
service mean). Usable alone: :func:`expand`. Importing this loads no jinja2.
"""

from .engine import STEPS_MAX as STEPS_MAX
from .engine import Lookup as Lookup
from .engine import check as check
from .engine import expand as expand
from .errors import TemplateError as TemplateError
from .formats import OUTPUT_MAX as OUTPUT_MAX
from .task import DRIVER as DRIVER
from .task import check_container as check_container
from .task import check_payload as check_payload
from .task import expand_container as expand_container
from .task import expand_payload as expand_payload
from .task import expand_task as expand_task
from .task import task_context as task_context
from .values import Failure as Failure
from .values import Struct as Struct

__all__ = [
    "DRIVER",
    "Failure",
    "Lookup",
    "OUTPUT_MAX",
    "STEPS_MAX",
    "Struct",
    "TemplateError",
    "check",
    "check_container",
    "check_payload",
    "expand",
    "expand_container",
    "expand_payload",
    "expand_task",
    "task_context",
]
