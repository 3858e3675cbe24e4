"""Where should this task go: the scheduler.

It is told of nodes, networks and tasks as they change (:meth:`Scheduler.upsert_node` …) and, asked
to :meth:`Scheduler.schedule`, answers with decisions: a task with its node, or with the reason why
it has none. It takes plain objects, not a store, and keeps nothing that could not be read off them:
a scheduler told of every change and one told of the outcome alone decide the same. There is no
chance in it: equal nodes rank in the order in which they became known.

Tasks are placed in groups (a service and a version of its spec), the oldest group first, within it
by slot. Each task goes to the best node there is when its turn comes, so a group gives the same
places as its tasks one by one. Best is what :mod:`~pyswarm.scheduler.pools` and, with preferences,
:mod:`~pyswarm.scheduler.tree` rank first among the nodes that pass the filters.

Which structure serves: a pool by shape for services that have no tasks yet on the least loaded
nodes, which is nearly always; where the walk would have to step over too many nodes that have
tasks of the service already, a pool of the service's own.

What finds no place is *pending by shape*: it is tried again when a node that fits its shape exists
again, and its reason is written anew when the verdicts on the nodes have changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from itertools import islice
from typing import NamedTuple, cast

from pyswarm.model.objects import Task
from pyswarm.model.replace import replace
from pyswarm.model.states import TaskState
from pyswarm.model.twins import copier_of
from pyswarm.scheduler.books import Books
from pyswarm.scheduler.filters import FILTERS, Filter
from pyswarm.scheduler.group import GroupKey, TaskGroup, group_key
from pyswarm.scheduler.journal import Journal
from pyswarm.scheduler.node import NodeInfo
from pyswarm.scheduler.pools import Pool, ServicePool
from pyswarm.scheduler.shape import FITS, Shape, direct_key
from pyswarm.scheduler.strategy import STRATEGIES, ScoredPool, Spread, Strategy, place_by_score
from pyswarm.scheduler.tree import Tree
from pyswarm.scheduler.verdicts import PASSES, REPLICAS, Verdicts, judge, sentence

MESSAGE_ASSIGNED = "scheduler assigned task to node"
MESSAGE_CONFIRMED = "scheduler confirmed task can run on preassigned node"
SKIPPED_MAX = 32  # nodes stepped over before a service gets a pool of its own
POOL_ENTRIES_MIN = 1 << 18  # entries kept in pools at least (10 MB); eight a node if that is more
POOL_ENTRIES_PER_NODE = 8
SHAPES_MAX = 4096  # shapes remembered; a shape is a kilobyte, and cheap to find out again
NODES_PER_CLASS_MIN = 4  # with fewer, looking at classes first is no shorter way
CLASSES_SLACK = 1024  # verdicts on classes that a shape may remember in vain
NO_LIMIT = 1 << 62
ASSIGNED = TaskState.ASSIGNED
copy = copier_of(Task)
"""A task's mutable twin, to be made a task again by its class: replace() without its loop."""

NO_PENALTIES: dict[str, int] = {}


def _put_back(queue: list[tuple[float, GroupKey]], entry: tuple[float, GroupKey]) -> None:
    """Put an entry in its place in a queue whose order is descending."""
    low, high = 0, len(queue)
    while low < high:
        middle = (low + high) // 2
        if queue[middle] > entry:
            low = middle + 1
        else:
            high = middle
    queue.insert(low, entry)


class Decision(NamedTuple):
    """A task as it was and as it should be: assigned, or pending with a (new) reason."""

    old: Task
    new: Task

    @property
    def placed(self) -> bool:
        """Whether the task got its node."""
        return self.new.state is TaskState.ASSIGNED


class PendingShape:
    """A shape that some tasks wait with: its verdicts, and the groups."""

    __slots__ = ("verdicts", "groups", "stale", "freed")

    def __init__(self, shape: Shape) -> None:
        self.verdicts = Verdicts(shape)
        self.stale = True
        """Whether a reason may have to be written anew."""
        self.freed = 0
        """How far the journal of what was freed was read, for filters of one's own."""
        self.groups: dict[GroupKey, TaskGroup] = {}


class Scheduler(Books):
    """Places tasks on nodes. Tell it what changes, then :meth:`schedule`."""

    def __init__(
        self, *, strategy: Strategy = STRATEGIES["spread"], filters: Iterable[Filter] = ()
    ) -> None:
        super().__init__()
        self.strategy = strategy
        self.filters: tuple[Filter, ...] = tuple(filters)
        self.spreads = isinstance(strategy, Spread) and not self.filters
        self.by_shape = getattr(strategy, "by_shape", False) and not self.filters
        self.pools: dict[Shape, Pool] = {}
        self.recent: Pool | None = None
        self.views: dict[GroupKey, ServicePool | Tree] = {}
        self.scored: dict[Shape, ScoredPool] = {}
        self.moved = Journal()
        """Nodes whose load or self changed, for strategies that score."""
        self.pending: dict[Shape, PendingShape] = {}
        self.queue: list[tuple[float, GroupKey]] = []
        """The groups that are due by age and key, the next one last; may hold some that are not."""
        self.now = 0.0
        self.version: int | None = None

    @property
    def is_due(self) -> bool:
        """Whether :meth:`schedule` has something to decide without anything further happening."""
        return bool(self.due or self.bound_due or self.ending)

    def warm(self) -> None:
        """Order the nodes now, for tasks that need nothing, rather than with the first of them."""
        self._pool(self.plain)

    def schedule(
        self, now: float, limit: int = NO_LIMIT, *, version: int | None = None
    ) -> list[Decision]:
        """Decide at most ``limit`` tasks; what is left over stays due.

        ``now`` is cluster time in seconds, ``version`` what the tasks are stamped with (their own
        if it is not given). The books count what is placed at once; telling the scheduler the same
        again as changes of the store does nothing.
        """
        self.now = now
        self.version = version
        decisions: list[Decision] = []
        for node_id in self.failures.expire(now):
            self.improve(node_id)
        self._end(decisions, limit)
        self._confirm(decisions, limit)
        self._wake()
        self._place_due(decisions, limit)
        self._give_reasons(decisions, limit)
        self._evict()
        return decisions

    # Tasks that are to end, and tasks made for a node

    def _end(self, decisions: list[Decision], limit: int) -> None:
        for task in list(self.ending.values())[: max(0, limit - len(decisions))]:
            new = replace(task, state=TaskState.SHUTDOWN, err="", status_at=self.now)
            decisions.append(Decision(task, new))
            del self.ending[task.id]

    def _confirm(self, decisions: list[Decision], limit: int) -> None:
        if not self.bound_due:
            return
        waiting = [self.bound[task_id] for task_id in self.bound_due]
        waiting.sort(key=lambda task: (task.created_at, task.id))
        for task in waiting:
            if len(decisions) >= limit:
                return
            del self.bound_due[task.id]
            info = self.by_id.get(task.node_id)
            if info is None:
                continue  # it waits for the node to become known
            group = self.group_of(task)
            rejected = self.rejected_by(info, group)
            if rejected is None:
                self._assign(task, info, group.shape, MESSAGE_CONFIRMED, decisions)
            elif task.err != (text := rejected.explain(1)):
                new = self.bound[task.id] = replace(task, err=text, status_at=self.now)
                decisions.append(Decision(task, new))

    def group_of(self, task: Task) -> TaskGroup:
        """The group that ``task`` is in or would be in."""
        group = self.waiting.get(task.id)
        if group is None:
            group = TaskGroup(group_key(task), task, self.shape(task), {})
        group.counts = self.services.get(task.service_id, {})
        return group

    def rejected_by(self, info: NodeInfo, group: TaskGroup) -> Filter | None:
        """The first filter that keeps tasks of ``group`` off a node."""
        verdict = judge(info, group.shape)
        if verdict != PASSES:
            return FILTERS[verdict]
        if group.max_replicas and group.count_on(info) >= group.max_replicas:
            return FILTERS[REPLICAS]
        for extra in self.filters:
            if not extra.check(info, group):
                return extra
        return None

    # Placing groups

    def _wake(self) -> None:
        """Make those pending groups due that a change may have helped."""
        for pending in self.pending.values():
            verdicts = pending.verdicts
            if verdicts.catch_up(self.nodes, self.altered):
                pending.stale = True
            if not verdicts.passing:
                continue
            won = verdicts.won or (self.filters and pending.freed != self.freed.end)
            verdicts.won, pending.freed = False, self.freed.end
            for key, group in pending.groups.items():
                relieved = self.relieved.get(key[0], ()) if group.max_replicas else ()
                if won or any(map(verdicts.can_take, relieved)):
                    self.make_due(group)
        self.relieved.clear()

    def _place_due(self, decisions: list[Decision], limit: int) -> None:
        queue, due = self.queue, self.due
        if self.fresh:
            queue += [(group.age, group.key) for group in self.fresh if group.key in due]
            self.fresh.clear()
            queue.sort(reverse=True)  # runs that are in order already cost next to nothing
        while queue and len(decisions) < limit:
            age, key = queue.pop()
            group = due.get(key)
            if group is None:
                continue
            if group.age > age:  # its oldest task left meanwhile
                _put_back(queue, (group.age, key))
                continue
            if len(group.tasks) == 1 and self._place_one(group, decisions):
                continue
            self._place(group, decisions, limit)
            if key in due:
                queue.append((age, key))
        if not due:
            queue.clear()

    def _place_one(self, group: TaskGroup, decisions: list[Decision]) -> bool:
        """The short way for a single task with nothing special about it; False: go the long one.

        It does what :meth:`_place` would do, in a third of the time: with a service a task this is
        where the time goes.
        """
        key, shape = group.key, group.shape
        if not self.spreads or group.levels or key in self.views:
            return False
        penalties = self.failures.penalties
        if penalties and key[:2] in penalties:
            return False
        info = self._pool(shape).top()
        if info is None:
            return False
        counts = self.services.get(key[0])
        if counts is not None and info.index in counts:
            return False
        (task,) = group.tasks.values()
        new = self._assigned(task, info, shape, MESSAGE_ASSIGNED)
        del self.waiting[task.id]
        self.close(group)
        if shape is self.plain and not self.trees:  # what track() does, without the questions
            self.tasks[new.id] = info.tasks[new.id] = new
            info.active_tasks += 1
            if counts is None:
                self.services[key[0]] = {info.index: 1}
            else:
                counts[info.index] = 1
        else:
            self.track(new)
        decisions.append(Decision(task, new))
        return True

    def _place(self, group: TaskGroup, decisions: list[Decision], limit: int) -> None:
        group.counts = self.services.setdefault(group.key[0], {})
        room = limit - len(decisions)
        tasks = list(islice(group.in_order().values(), room))
        if self.spreads:
            placed = self._spread(group, tasks, decisions)
        elif self.by_shape and not group.levels:
            placed = self._place_by_shape(group, tasks, decisions)
        else:
            placed = self._place_by_score(group, tasks, decisions)
        if not group.counts:
            del self.services[group.key[0]]
        if not group.tasks:
            self.close(group)
        elif placed < len(tasks):
            del self.due[group.key]
            self._keep_pending(group)
        # Otherwise there was no room for all of them: it stays due.

    def _place_by_shape(
        self, group: TaskGroup, tasks: Sequence[Task], decisions: list[Decision]
    ) -> int:
        shape, limit = group.shape, group.max_replicas or NO_LIMIT
        pool = self.scored.pop(shape, None) or ScoredPool(self.nodes, shape, self.strategy)
        self.scored[shape] = pool  # the one used last goes to the end
        full: list[tuple[tuple[float, ...], int]] = []
        placed = 0
        for task in tasks:
            pool.catch_up(group, self.moved)
            while (info := pool.top()) is not None and group.count_on(info) >= limit:
                full.append(pool.set_aside())
            if info is None:
                break
            self._assign(task, info, shape, MESSAGE_ASSIGNED, decisions)
            placed += 1
        pool.put_back(full)
        return placed

    def _place_by_score(
        self, group: TaskGroup, tasks: Sequence[Task], decisions: list[Decision]
    ) -> int:
        def accepts(info: NodeInfo) -> bool:
            return self.rejected_by(info, group) is None

        def assign(task: Task, info: NodeInfo) -> None:
            self._assign(task, info, group.shape, MESSAGE_ASSIGNED, decisions)

        return place_by_score(self.strategy, group, tasks, self.nodes, accepts, assign)

    def _spread(self, group: TaskGroup, tasks: Sequence[Task], decisions: list[Decision]) -> int:
        penalties = self.failures.penalties.get(group.key[:2])
        placed = 0
        if not group.levels and not penalties and group.key not in self.views:
            placed, exhausted = self._from_pool(group, tasks, decisions)
            if exhausted:
                return placed
        view = self._view(group, penalties or NO_PENALTIES)
        shape = group.shape
        for task in tasks[placed:]:
            info = view.top()
            if info is None:
                break
            self._assign(task, info, shape, MESSAGE_ASSIGNED, decisions)
            placed += 1
        return placed

    def _from_pool(
        self, group: TaskGroup, tasks: Sequence[Task], decisions: list[Decision]
    ) -> tuple[int, bool]:
        """Place on nodes without tasks of the service; False if a pool of its own must go on."""
        shape = group.shape
        pool, counts = self._pool(shape), group.counts
        heap = pool.heap
        skipped: list[int] = []
        placed, wanted = 0, len(tasks)
        while placed < wanted:
            info = pool.top()
            if info is None or len(skipped) > SKIPPED_MAX:
                break
            if info.index in counts:
                skipped.append(heappop(heap))
                continue
            self._assign(tasks[placed], info, shape, MESSAGE_ASSIGNED, decisions)
            placed += 1
        nothing_left = not heap and not skipped
        for entry in skipped:
            heappush(heap, entry)
        return placed, placed == wanted or nothing_left

    def _assign(
        self, task: Task, info: NodeInfo, shape: Shape, message: str, decisions: list[Decision]
    ) -> None:
        new = self._assigned(task, info, shape, message)
        self._leave_for_node(task.id)
        self.track(new)
        decisions.append(Decision(task, new))

    def _assigned(self, task: Task, info: NodeInfo, shape: Shape, message: str) -> Task:
        new = copy(task)
        new.node_id = info.node.id
        new.state = ASSIGNED
        new.message = message
        new.err = ""
        new.status_at = self.now
        if self.version is not None:  # what the store would set: it need not copy once more
            new.version = self.version
            new.updated_at = self.now
        generic = shape.needs.generic
        if generic:
            new.assigned_generic = info.claim(generic)
        new.__class__ = Task
        return cast("Task", new)

    def _leave_for_node(self, task_id: str) -> None:
        group = self.waiting.pop(task_id, None)
        if group is not None:
            group.drop(task_id)  # the group is closed by whoever places it
        else:
            self._leave(task_id)

    # Pending groups

    def _keep_pending(self, group: TaskGroup) -> None:
        pending = self.pending.get(group.shape)
        if pending is None:
            pending = self.pending[group.shape] = PendingShape(group.shape)
        pending.groups[group.key] = group
        pending.stale = True
        pending.freed = self.freed.end
        group.text = None

    def _forget_pending(self, group: TaskGroup) -> None:
        if not self.pending:
            return
        pending = self.pending.get(group.shape)
        if pending is not None:
            pending.groups.pop(group.key, None)
            if not pending.groups:
                del self.pending[group.shape]

    def touch_freed(self, info: NodeInfo) -> None:
        super().touch_freed(info)
        self._touch_moved(info)
        if self.filters:
            self.bound_due.update(self.bound_by_node.get(info.id, {}))

    def count(self, info: NodeInfo, task: Task) -> None:
        super().count(info, task)
        self._touch_moved(info)
        if self.filters:  # they may want company: "only where the database is"
            self.touch_freed(info)

    def _touch_moved(self, info: NodeInfo) -> None:
        if not self.spreads:
            self.moved.append(info.index)
            self.moved.trim(len(self.by_id))

    def close(self, group: TaskGroup) -> None:
        self._forget_pending(group)
        super().close(group)

    def reshape(self, group: TaskGroup) -> None:
        self._forget_pending(group)
        super().reshape(group)

    def _give_reasons(self, decisions: list[Decision], limit: int) -> None:
        """Write why what stays pending does, where that is not what is written already."""
        for pending in self.pending.values():
            verdicts = pending.verdicts
            changed = verdicts.catch_up(self.nodes, self.altered)
            verdicts.won = False  # what passes has been tried just now
            if not changed and not pending.stale:
                continue
            pending.stale = False
            for group in pending.groups.values():
                text = self.reason(group, verdicts)
                if text == group.text:
                    continue
                group.text = text
                for task in list(group.tasks.values()):
                    if task.err == text:
                        continue
                    if len(decisions) >= limit:
                        group.text = None
                        pending.stale = True
                        self.make_due(group)
                        break
                    new = group.tasks[task.id] = replace(task, err=text, status_at=self.now)
                    decisions.append(Decision(task, new))

    def reason(self, group: TaskGroup, verdicts: Verdicts) -> str:
        """Swarm's sentence for a group that found no node."""
        if self.filters:
            counts: dict[Filter, int] = dict.fromkeys((*FILTERS, *self.filters), 0)
            for info in self.by_id.values():
                rejected = self.rejected_by(info, group)
                if rejected is not None:
                    counts[rejected] += 1
            explanation = sentence(list(counts.items()))
        else:
            numbers = list(zip(FILTERS, verdicts.counts, strict=False))
            if group.max_replicas and verdicts.passing:
                numbers[REPLICAS] = (FILTERS[REPLICAS], verdicts.passing)
            explanation = sentence(numbers)
        return f"no suitable node ({explanation})" if explanation else "no suitable node"

    # Orders of nodes

    def _candidates(self, shape: Shape) -> Iterable[NodeInfo | None]:
        """The nodes to look at: those that a constraint names, or those of classes that fit."""
        for constraint in shape.node_constraints:
            key = direct_key(constraint)
            if key is not None:
                return [self.nodes[index] for index in self.named.get(key, ())]
        if len(self.members) * NODES_PER_CLASS_MIN > len(self.by_id):
            return self.nodes
        found: list[NodeInfo | None] = []
        for members in self.members.values():
            sample = self.nodes[next(iter(members))]
            if sample is not None and shape.class_fit(sample) == FITS:
                found += [self.nodes[index] for index in members]
        return found

    def _pool(self, shape: Shape) -> Pool:
        pool = self.pools.get(shape)
        if pool is not None and pool is self.recent and pool.position == self.freed.end:
            return pool
        self.pools.pop(shape, None)  # the pool used last goes to the end
        if pool is None:
            pool = Pool(self.nodes, shape)
            pool.fill(self._candidates(shape), self.freed.end)
        elif not pool.catch_up(self.freed):
            pool.fill(self._candidates(shape), self.freed.end)
        self.pools[shape] = self.recent = pool
        return pool

    def _view(self, group: TaskGroup, penalties: dict[str, int]) -> ServicePool | Tree:
        """The order of the group's own, made or brought up to date."""
        view = self.views.pop(group.key, None)
        current = (
            view is not None
            and view.shape is group.shape
            and view.counts is group.counts
            and view.penalties is penalties
            and (
                view.catch_up(self.freed)
                if isinstance(view, ServicePool)
                else view.catch_up(self.freed, self.layout)
            )
        )
        if view is None or not current:
            if isinstance(view, Tree):
                self._drop_tree(group.service_id, view)
            view = self._new_view(group, penalties)
        self.views[group.key] = view
        return view

    def _new_view(self, group: TaskGroup, penalties: dict[str, int]) -> ServicePool | Tree:
        admitted = self._pool(group.shape).live()
        if not group.levels:
            own = ServicePool(self.nodes, group.shape, group.counts, penalties, group.max_replicas)
            own.fill_with(admitted)
            own.position = self.freed.end
            return own
        tree = Tree(
            self.nodes, group.shape, group.levels, group.counts, penalties, group.max_replicas
        )
        tree.fill(admitted, self.freed.end, self.layout)
        self.trees.setdefault(group.service_id, []).append(tree)
        return tree

    def _drop_tree(self, service_id: str, tree: Tree) -> None:
        trees = self.trees[service_id]
        trees.remove(tree)
        if not trees:
            del self.trees[service_id]

    def _evict(self) -> None:
        """Let go of the orders used longest ago when there is too much of them."""
        budget = max(POOL_ENTRIES_MIN, POOL_ENTRIES_PER_NODE * len(self.by_id))
        pools = sum(pool.members for pool in self.pools.values())
        views = sum(view.members for view in self.views.values())
        while pools > budget and len(self.pools) > 1:
            shape = next(iter(self.pools))
            pools -= self.pools.pop(shape).members
        scored = sum(len(pool.scores) for pool in self.scored.values())
        while scored > budget and len(self.scored) > 1:
            scored -= len(self.scored.pop(next(iter(self.scored))).scores)
        while views > budget and len(self.views) > 1:
            key = next(iter(self.views))
            view = self.views.pop(key)
            views -= view.members
            if isinstance(view, Tree):
                self._drop_tree(key[0], view)
        for shape in self.pools:
            if len(shape.classes) > 2 * len(self.members) + CLASSES_SLACK:
                shape.classes.clear()  # most are of classes that no node is of any more
        if len(self.shapes) > SHAPES_MAX:
            used = dict.fromkeys(group.shape for group in self.groups.values())
            self.shapes = {
                needs: shape
                for needs, shape in self.shapes.items()
                if shape in self.pools or shape in self.scored or shape in used
            }
