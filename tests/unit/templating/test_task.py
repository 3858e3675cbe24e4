"""Swarm's placeholders in a task's fields, and in templated payloads."""

from __future__ import annotations

import pytest

from pyswarm.model import ContainerSpec, Mount, Task, TaskSpec
from pyswarm.model.objects import NodeDescription
from pyswarm.model.resources import Platform
from pyswarm.model.specs import VolumeOptions
from pyswarm.templating import (
    TemplateError,
    check_container,
    check_payload,
    expand_payload,
    expand_task,
    task_context,
)

NODE = NodeDescription("host-1", Platform("linux", "x86_64"))
ALL = (
    "{{.Service.ID}}|{{.Service.Name}}|{{.Service.Labels}}|{{.Node.ID}}|{{.Node.Hostname}}|"
    "{{.Node.Platform.Architecture}}|{{.Node.Platform.OS}}|{{.Task.ID}}|{{.Task.Name}}|"
    "{{.Task.Slot}}"
)


def task(container: ContainerSpec, slot: int = 2) -> Task:
    return Task(
        "t1",
        "s1",
        TaskSpec(container),
        slot=slot,
        node_id="n1",
        service_name="web",
        service_labels={"l1": "v1"},
    )


def test_every_placeholder() -> None:
    done = expand_task(task(ContainerSpec("app", env=(f"A={ALL}",))), NODE)
    assert done.spec.container is not None
    wanted = "A=s1|web|map[l1:v1]|n1|host-1|x86_64|linux|t1|web.2.t1|2"
    assert done.spec.container.env == (wanted,)


def test_the_slot_of_a_task_without_one_is_its_node() -> None:
    done = expand_task(task(ContainerSpec("app", hostname="h-{{.Task.Slot}}"), slot=0), NODE)
    assert done.spec.container is not None and done.spec.container.hostname == "h-n1"


def test_which_fields_are_filled_in() -> None:
    volume = VolumeOptions(labels={"{{x": "{{.Task.ID}}"}, driver_options={"o": "{{.Node.ID}}"})
    container = ContainerSpec(
        "app",
        command=("echo", "{{.Task.ID}}"),
        env=("A=x={{.Task.Slot}}", "{{.Task.ID}}=b", "alone{{.Task.ID}}"),
        labels={"a": "{{.Task.ID}}"},
        mounts=(Mount("/d/{{.Task.Slot}}", "v-{{.Node.Hostname}}", volume=volume),),
        hostname="{{.Service.Name}}",
        dir="{{.Task.ID}}",
    )
    done = expand_task(task(container), NODE).spec.container
    assert done is not None
    assert done.env == ("A=x=2", "{{.Task.ID}}=b", "alone{{.Task.ID}}")
    assert (done.command, done.labels, done.dir) == (
        container.command,
        container.labels,
        container.dir,
    )
    assert (done.mounts[0].target, done.mounts[0].source, done.hostname) == (
        "/d/2",
        "v-host-1",
        "web",
    )
    assert done.mounts[0].volume == VolumeOptions(labels={"{{x": "t1"}, driver_options={"o": "n1"})


def test_a_task_without_placeholders_stays_the_very_same() -> None:
    plain = task(ContainerSpec("app", env=("A=1",), mounts=(Mount("/d", "v"),)))
    assert expand_task(plain, NODE) is plain


@pytest.mark.parametrize(
    ("container", "sentence"),
    [
        (
            ContainerSpec("busybox", hostname="{{.Bad"),  # recorded
            "expanding hostname failed: template: expansion:1: unclosed action",
        ),
        (
            ContainerSpec("busybox", env=("A={{.Service",)),  # recorded
            'expanding env failed: expanding env "A={{.Service": '
            "template: expansion:1: unclosed action",
        ),
        (
            ContainerSpec("busybox", env=("X={{.Node.Labels}}",)),  # recorded
            'expanding env failed: expanding env "X={{.Node.Labels}}": template: expansion:1:7: '
            'executing "expansion" at <.Node.Labels>: can\'t evaluate field Labels in type '
            "struct { ID string; Hostname string; Platform template.Platform }",
        ),
        (
            ContainerSpec("busybox", mounts=(Mount("/d", "{{.Nope}}"),)),
            'expanding mounts failed: expanding mount source "{{.Nope}}": template: expansion:1:2: '
            'executing "expansion" at <.Nope>: can\'t evaluate field Nope in type '
            "*template.Context",
        ),
    ],
)
def test_a_bad_template_is_refused_in_swarms_words(container: ContainerSpec, sentence: str) -> None:
    with pytest.raises(TemplateError) as caught:
        check_container(container)
    assert str(caught.value) == sentence
    assert caught.value.line == 1 and caught.value.hint


def test_the_stand_in_has_no_labels() -> None:
    """As Swarm has it: a label is asked for with ``index``."""
    checked = check_container(ContainerSpec("a", env=('A={{index .Service.Labels "x"}}',)))
    assert checked.env == ("A=",)
    with pytest.raises(TemplateError, match='map has no entry for key "x"'):
        check_container(ContainerSpec("a", env=("A={{.Service.Labels.x}}",)))


def payload(text: bytes, driver: str = "golang") -> bytes:
    return expand_payload(
        text,
        driver,
        task_context(task(ContainerSpec("app")), NODE),
        secrets={"db": b"hunter2", "raw": b"\xff{{.Task.ID}}"},
        configs={"/etc/x": b"conf"},
        env={"MODE": "prod"},
    )


def test_payloads_take_in_others() -> None:
    text = b'{{secret "db"}} {{config "/etc/x"}} {{env "MODE"}}{{env "NONE"}} {{.Task.Slot}}'
    assert payload(text) == b"hunter2 conf prod 2"


def test_what_is_taken_in_is_not_looked_through() -> None:
    assert payload(b'\xfe{{secret "raw"}}') == b"\xfe\xff{{.Task.ID}}"


@pytest.mark.parametrize(
    ("text", "driver", "problem"),
    [
        (b'{{secret "other"}}', "golang", "error calling secret: secret target other not found"),
        (b'{{config "db"}}', "golang", "error calling config: config target db not found"),
        (b"{{.Task.ID}}", "nosuch", "unrecognized template type"),
    ],
)
def test_payloads_that_do_not_work(text: bytes, driver: str, problem: str) -> None:
    with pytest.raises(TemplateError, match=problem):
        payload(text, driver)


def test_a_payload_is_read_when_it_is_created() -> None:
    check_payload(b'{{secret "later"}}', "golang")
    check_payload(b"{{", "nosuch")  # Docker takes it; the task is rejected
    check_payload(b"{{", "")
    with pytest.raises(TemplateError, match="unclosed action"):
        check_payload(b"{{", "golang")
