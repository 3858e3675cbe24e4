"""Secrets and configs that are templates, filled in on the node that runs the task.

Such a file may take in others that the same task was given, by their target; what it takes in is
not looked through for templates again. It stays in memory, as every secret and config does.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyswarm.agent import FileSource, TaskContext, TaskRejected
from pyswarm.agent.context import parse_environment
from pyswarm.agent.files import CONFIGS_ROOT, SECRETS_ROOT, target_path
from pyswarm.model.objects import NodeDescription
from pyswarm.templating import TemplateError, expand_payload, task_context


def expand_file(source: FileSource, data: bytes, context: TaskContext) -> bytes:
    """The payload of ``source``, filled in for its task.

    Raises :class:`TaskRejected`, naming the secret or config, for a template that does not work.
    """
    container = context.container
    secrets = [(ref.target or ref.secret_name) for ref in container.secrets]
    configs = [(ref.target or ref.config_name) for ref in container.configs if not ref.runtime]
    node = NodeDescription(context.hostname, context.platform)
    try:
        return expand_payload(
            data,
            source.templating,
            task_context(context.task, node),
            secrets=_payloads(context, SECRETS_ROOT, secrets),
            configs=_payloads(context, CONFIGS_ROOT, configs),
            env=parse_environment(container.env),
        )
    except TemplateError as error:
        what = f"failed to expand templated {source.kind} {source.id}"
        raise TaskRejected(f"{what}: {error.message}", hint=error.hint) from error


def _payloads(context: TaskContext, root: str, targets: Iterable[str]) -> dict[str, bytes]:
    return {target: context.files[target_path(root, target)].data for target in targets}
