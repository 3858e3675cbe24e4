"""Secrets and configs both ways. A secret's payload is never shown."""

from __future__ import annotations

import base64
from typing import Any

from pyswarm.api.convert.parts import Said, driver, head, labelled, nonnull, omitempty
from pyswarm.model import Config, ConfigSpec, Driver, Secret, SecretSpec


def secret_spec_of(data: Said) -> SecretSpec:
    """The secret spec of a decoded body; its payload goes another way."""
    given = data.pointer("Driver")
    return SecretSpec(
        name=data.text("Name"),
        labels=data.map("Labels"),
        **_templating_of(data),
        driver=None if given is None else Driver(given.text("Name"), given.map("Options")),
    )


def config_spec_of(data: Said) -> ConfigSpec:
    """The config spec of a decoded body. A driver is ignored, as Docker does."""
    return ConfigSpec(name=data.text("Name"), labels=data.map("Labels"), **_templating_of(data))


def _templating_of(data: Said) -> dict[str, Any]:
    """The templating driver's name and options."""
    given = data.pointer("Templating")
    if given is None:
        return {}
    return {"templating": given.text("Name"), "templating_options": given.map("Options")}


def show_secret(secret: Secret) -> dict[str, Any]:
    """A secret in Engine JSON."""
    spec = secret.spec
    return {
        **head(secret),
        "Spec": {
            **labelled(spec.name, spec.labels),
            **nonnull(Driver=spec.driver and driver(spec.driver.name, spec.driver.options)),
            **_show_templating(spec),
        },
    }


def show_config(config: Config, data: bytes) -> dict[str, Any]:
    """A config in Engine JSON with its plain payload."""
    spec = config.spec
    return {
        **head(config),
        "Spec": {
            **labelled(spec.name, spec.labels),
            **omitempty(Data=base64.b64encode(data).decode()),
            **_show_templating(spec),
        },
    }


def _show_templating(spec: SecretSpec | ConfigSpec) -> dict[str, Any]:
    if not spec.templating:
        return {}
    return {"Templating": driver(spec.templating, spec.templating_options)}
