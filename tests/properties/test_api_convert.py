"""A spec rendered as Engine JSON and read again is the same spec; so is a body, once normalised."""

from __future__ import annotations

import json
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from pyswarm.api.bodies import WrongType
from pyswarm.api.convert import Said, service_spec_of, show_service_spec
from pyswarm.api.convert.shapes import SERVICE_SPEC
from pyswarm.api.convert.tasks import LIMITS, PLACEMENT, RESERVATIONS, RESOURCES, WINDOW
from pyswarm.api.errors import Refused
from pyswarm.api.rendering import fragment
from pyswarm.errors import InvalidArgument
from pyswarm.model import (
    BindOptions,
    ConfigReference,
    ContainerSpec,
    CredentialSpec,
    DNSConfig,
    EndpointSpec,
    GenericResource,
    Global,
    GlobalJob,
    Healthcheck,
    Limits,
    LogDriver,
    Mount,
    NetworkAttachmentConfig,
    Placement,
    Platform,
    PortConfig,
    Preference,
    Privileges,
    Replicated,
    ReplicatedJob,
    ResourceRequirements,
    Resources,
    RestartPolicy,
    SecretReference,
    SELinuxContext,
    ServiceSpec,
    TaskSpec,
    TmpfsOptions,
    Ulimit,
    UpdateConfig,
    VolumeOptions,
)
from pyswarm.model.states import (
    EndpointMode,
    FailureAction,
    MountType,
    Protocol,
    PublishMode,
    RestartCondition,
    UpdateOrder,
)

words = st.sampled_from(["", "a", "b=c", "é x", '"', "\u2028"])
named = st.sampled_from(["a", "b", "c-d"])
lists = st.lists(words, max_size=2).map(tuple)
maps = st.dictionaries(named, words, max_size=2)
counts = st.integers(0, 2**40)
times = st.integers(0, 10**15).map(lambda nanoseconds: nanoseconds / 1e9)
flags = st.booleans()


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


binds = st.builds(
    BindOptions, propagation=st.sampled_from(["rprivate", "shared"]), non_recursive=flags
)
volumes = st.builds(
    VolumeOptions, no_copy=flags, labels=maps, driver=words, driver_options=maps, subpath=words
)
mounts = st.builds(
    Mount,
    target=words,
    source=words,
    type=st.sampled_from([kind for kind in MountType if kind is not MountType.IMAGE]),
    read_only=flags,
    bind=maybe(binds),
    volume=maybe(volumes),
    tmpfs=maybe(st.builds(TmpfsOptions, size_bytes=counts, mode=st.integers(0, 0o777))),
)
healthchecks = st.builds(
    Healthcheck,
    test=lists,
    interval=times,
    timeout=times,
    retries=st.integers(-3, 3),
    start_period=times,
    start_interval=times,
)
references = {"target": named, "uid": words, "gid": words, "mode": st.integers(0, 0o777)}
privileges = st.builds(
    Privileges,
    credential_spec=maybe(st.builds(CredentialSpec, registry=named)),
    selinux_context=maybe(st.builds(SELinuxContext, disable=flags, user=words, level=words)),
    seccomp_mode=words,
    seccomp_profile=st.binary(max_size=4),
    apparmor_mode=words,
    no_new_privileges=flags,
)
containers = st.builds(
    ContainerSpec,
    image=words,
    command=lists,
    args=lists,
    env=lists,
    dir=words,
    user=words,
    groups=lists,
    hostname=words,
    labels=maps,
    mounts=st.lists(mounts, max_size=2).map(tuple),
    secrets=st.lists(st.builds(SecretReference, named, named, **references), max_size=2).map(tuple),
    configs=st.lists(st.builds(ConfigReference, named, named, **references), max_size=2).map(tuple),
    stop_signal=words,
    stop_grace_period=maybe(times),
    healthcheck=maybe(healthchecks),
    tty=flags,
    open_stdin=flags,
    read_only=flags,
    init=maybe(flags),
    hosts=lists,
    dns=maybe(st.builds(DNSConfig, lists, lists, lists)),
    privileges=maybe(privileges),
    isolation=st.sampled_from(["", "process", "hyperv"]),
    sysctls=maps,
    capability_add=lists,
    capability_drop=lists,
    ulimits=st.lists(st.builds(Ulimit, named, counts, counts), max_size=2).map(tuple),
    oom_score_adj=st.integers(-5, 5),
)
generics = st.lists(
    st.builds(GenericResource, named, st.integers(1, 9)), max_size=2, unique_by=lambda g: g.kind
)
restarts = st.builds(
    RestartPolicy,
    condition=st.sampled_from(RestartCondition),
    delay=maybe(times),
    max_attempts=counts,
    window=times,
)


@st.composite
def tasks(draw: st.DrawFn) -> TaskSpec:
    memory = draw(counts)
    container = draw(containers)
    limits = Limits(draw(counts), memory, draw(counts))
    swap = draw(maybe(counts)) if memory else None
    reserved = Resources(draw(counts), draw(counts), tuple(draw(generics)))
    wanted = ResourceRequirements(limits, reserved, swap, draw(maybe(counts)))
    task = TaskSpec(
        container=attrs.evolve(container, pids_limit=limits.pids),
        resources=wanted if draw(flags) else ResourceRequirements(),
        restart=draw(maybe(restarts)),
        placement=draw(
            st.builds(
                Placement,
                lists,
                st.lists(st.builds(Preference, words), max_size=2).map(tuple),
                counts,
                st.lists(st.builds(Platform, words, words), max_size=2).map(tuple),
            )
        ),
        log_driver=draw(maybe(st.builds(LogDriver, words, maps))),
        networks=tuple(
            NetworkAttachmentConfig(target, aliases, driver_options=options)
            for target, aliases, options in draw(
                st.lists(st.tuples(named, lists, maps), max_size=2)
            )
        ),
        force_update=draw(counts),
    )
    if not task.resources.limits.pids:
        container = attrs.evolve(container, pids_limit=0)
        task = attrs.evolve(task, container=container)
    return attrs.evolve(task, given=draw(st.sampled_from(_possible(task))))


def _possible(task: TaskSpec) -> list[tuple[str, ...]]:
    """What may be said without content: only what is empty."""
    wanted, parts = task.resources, []
    parts += [LIMITS] if wanted.limits == Limits() else []
    parts += [RESERVATIONS] if wanted.reservations == Resources() else []
    found: list[tuple[str, ...]] = [(), tuple(parts)]
    if wanted == ResourceRequirements():
        found.append((RESOURCES,))
    tail = [PLACEMENT] if task.placement == Placement() else []
    tail += [WINDOW] if task.restart is not None and not task.restart.window else []
    return [*found, *((*one, *tail) for one in found)]


modes = st.one_of(
    st.builds(Replicated, counts),
    st.builds(ReplicatedJob, counts, counts),
    st.builds(Global),
    st.builds(GlobalJob),
)
updates = st.builds(
    UpdateConfig,
    parallelism=counts,
    delay=times,
    failure_action=st.sampled_from(FailureAction),
    monitor=maybe(times.filter(bool)),
    max_failure_ratio=st.floats(0, 1),
    order=st.sampled_from(UpdateOrder),
)
endpoints = st.builds(
    EndpointSpec,
    st.sampled_from(EndpointMode),
    st.lists(
        st.builds(
            PortConfig,
            st.integers(0, 65535),
            st.integers(0, 65535),
            st.sampled_from(Protocol),
            st.sampled_from(PublishMode),
            words,
        ),
        max_size=2,
    ).map(tuple),
)
services = st.builds(
    ServiceSpec,
    name=words,
    task=tasks(),
    mode=modes,
    labels=maps,
    update=maybe(updates),
    rollback=maybe(updates),
    endpoint=maybe(endpoints),
)


def read(body: Any) -> ServiceSpec:
    return service_spec_of(Said(SERVICE_SPEC.take(body, "")))


@given(services)
@settings(max_examples=120, deadline=None)
def test_a_service_survives_its_way_through_json(spec: ServiceSpec) -> None:
    shown = json.loads(fragment(show_service_spec(spec)))
    assert read(shown) == spec
    assert json.loads(fragment(show_service_spec(read(shown)))) == shown


# -- bodies of any shape

leaves = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
values = st.recursive(
    leaves | st.text(max_size=3), lambda inner: st.lists(inner, max_size=2), max_leaves=4
)


@st.composite
def bodies(draw: st.DrawFn) -> Any:
    """A well-formed body in which one value is replaced by another kind of value."""
    body = json.loads(fragment(show_service_spec(draw(services))))
    where = body
    for _ in range(draw(st.integers(0, 5))):
        keys = list(where) if isinstance(where, dict) else list(range(len(where)))
        if not keys:
            break
        key = draw(st.sampled_from(keys))
        if not isinstance(where[key], (dict, list)) or draw(st.integers(0, 3)) == 0:
            where[key] = draw(values)
            break
        where = where[key]
    return body


@given(bodies())
@settings(max_examples=150, deadline=None)
def test_a_malformed_body_is_refused_and_nothing_else_happens(body: Any) -> None:
    try:
        spec = read(body)
    except (WrongType, InvalidArgument, Refused) as refused:
        assert str(refused)
    else:
        assert read(show_service_spec(spec) and json.loads(fragment(show_service_spec(spec))))
