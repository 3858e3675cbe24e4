"""What lies on disks says which field it means by its number: no number may come to mean another.

The golden file has the numbers that ever were, of removed fields too; ``--rewrite`` adds new ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import attrs

from pyswarm.model import identity, objects, requests, session, specs
from pyswarm.model.objects import Certificate, Swarm
from pyswarm.model.states import Role
from pyswarm.model.wire import decode_trusted, encode, field_number

GOLDEN = Path(__file__).parents[2] / "golden" / "field_numbers.json"
MODULES = (identity, objects, requests, session, specs)

Numbers = dict[str, dict[str, str]]


def _classes(module: ModuleType) -> list[type]:
    found = [one for one in vars(module).values() if isinstance(one, type) and attrs.has(one)]
    return [one for one in found if one.__module__ == module.__name__]


def _numbers() -> Numbers:
    return {
        cls.__name__: {str(field_number(cls, one.name)): one.name for one in attrs.fields(cls)}
        for module in MODULES
        for cls in _classes(module)
    }


def test_no_number_means_another_field_than_before(rewrite: bool) -> None:
    known: Numbers = json.loads(GOLDEN.read_text())
    merged = {name: known.get(name, {}) for name in sorted({*known, *_numbers()})}
    for name, fields in _numbers().items():
        for number, field in fields.items():
            assert merged[name].get(number, field) == field, f"{name}: field {number}"
        merged[name] = merged[name] | fields
    if rewrite:
        GOLDEN.write_text(json.dumps(merged, indent=1) + "\n")
    assert merged == json.loads(GOLDEN.read_text()), "new fields: pytest --rewrite"


def test_objects_of_before_fields_came_and_went() -> None:
    old = {0: Role.MANAGER.value, 1: "n1", 3: "rotate"}
    assert decode_trusted(Certificate, old) == Certificate(Role.MANAGER, "n1", "rotate")
    assert encode(Certificate(Role.MANAGER, "n1", "rotate")) == old

    swarm = decode_trusted(Swarm, {0: "s1", 11: ["10.1.0.0/16"], 12: 26, 13: 5000})
    assert swarm.default_addr_pools == ("10.1.0.0/16",)
    assert (swarm.subnet_size, swarm.data_path_port) == (26, 5000)
    assert swarm.certificates_until == 0.0
