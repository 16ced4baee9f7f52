"""From chains to nodes and edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from edgeml.errors import GraphError
from edgeml.streams._chain import Chain, Step, is_head
from edgeml.streams._edge import Edge, Entrance
from edgeml.streams._join import Head
from edgeml.streams._nodes import Node, Outlet, SinkNode, SourceNode
from edgeml.streams._operators import Operator, OperatorNode, tee
from edgeml.streams._runner import Runner
from edgeml.streams._sink import Sink
from edgeml.streams._source import Source
from edgeml.streams._stage import Retry, Stage
from edgeml.streams._stage_nodes import AsyncNode, ConcurrentNode, InlineNode, StageNode

CAPACITY = 8  # items that wait at most between two steps
LIVE_CAPACITY = 64  # items that may wait at the entrance for their turn
MAX_BYTES = 64 << 20  # bytes of arrays that wait at most between two steps
MAX_AGE = 0.5  # seconds, when a lossy source doesn't say


class Intent(NamedTuple):
    """What a source wants of its entrance: nothing may be lost, or nothing may be old."""

    lossy: bool = False
    newest_wins: bool = False
    max_age: float = MAX_AGE

    @classmethod
    def of(cls, source: Source[Any]) -> Intent:
        """Return the intent of a source, ``"auto"`` resolved."""
        if source.keep == "every" or (source.keep == "auto" and not source.live):
            return cls()
        max_age = MAX_AGE if source.max_age is None else source.max_age
        return cls(True, source.keep == "freshest", max_age)


class Builder:
    """Adds the nodes of chains to a runner."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.added: list[Node] = []
        self.branches: dict[str, Edge] = {}
        self._names = {n for node in runner.nodes for n in _names_of(node)}
        self._placed = {id(step) for node in runner.nodes for step in _steps_of(node)}

    def add_chain(self, chain: Chain) -> Outlet | None:
        """Add a chain that starts with a source; return its open end, if it has one."""
        head, *rest = chain.steps()
        if isinstance(head, Source):
            self._claim(head)
            node: Node = SourceNode(self.runner, head)
            self._add(node)
            return self.add_steps(rest, node.outlet, node.name, Intent.of(head))
        if isinstance(head, Head):
            return self._add_head(head, rest)
        raise GraphError(
            f"a pipeline starts with a source; {chain!r} starts with {head!r}. Write "
            f"`source | {getattr(head, 'name', head)}`"
        )

    def _add_head(self, head: Head, rest: Sequence[Step]) -> Outlet | None:
        ends = []
        for key, chain in head.inputs.items():
            end = self.add_chain(chain)
            if end is None:
                raise GraphError(f"{head.name}: input {key!r} ends in a sink; it has no items left")
            ends.append(end)
        self._claim(head.operator)
        node = OperatorNode(self.runner, head.operator)
        self._add(node)
        for end in ends:
            origin = next(n.name for n in self.added if n.outlet is end)
            intent = next(
                (Intent.of(n.source) for n in self.added
                 if isinstance(n, SourceNode) and n.outlet is end),
                Intent(),
            )  # fmt: skip
            self._connect(end, origin, node, intent, [])
        return self.add_steps(rest, node.outlet, node.name, Intent())

    def add_steps(
        self, steps: Sequence[Step], outlet: Outlet, origin: str, intent: Intent
    ) -> Outlet | None:
        """Add steps after an outlet; return the open end, or None when there is none."""
        rest = list(steps)
        domain: list[Node] = []  # the nodes whose room the entrance before them asks for
        while rest:
            step = rest[0]
            if isinstance(step, tee):
                return self._add_tee(step, rest[1:], outlet, origin, intent)
            if isinstance(step, Sink):
                if len(rest) > 1:
                    raise GraphError(
                        f"{step.name!r} is a sink and ends its chain; {rest[1]!r} stands after it. "
                        f"Use tee({step.name}) to go on"
                    )
                self._add_sink(step, outlet, origin, intent, domain)
                return None
            node = self._next_node(rest)
            self._add(node)
            if isinstance(node, StageNode):
                domain.append(node)
            self._connect(outlet, origin, node, intent, domain)
            if isinstance(node, OperatorNode):
                domain = []
            intent = Intent()
            outlet, origin = node.outlet, node.name
        return outlet

    def _next_node(self, rest: list[Step]) -> Node:
        """Take as many steps off `rest` as go into one node."""
        first = rest[0]
        if isinstance(first, Operator):
            self._claim(rest.pop(0))
            return OperatorNode(self.runner, first)
        if is_head(first):
            raise GraphError(f"{first!r} yields items by itself, so it can only stand first")
        if not isinstance(first, Stage):
            raise GraphError(f"{first!r} cannot be a step of a pipeline")
        stages: list[Stage] = []
        if not first.inline:
            stages.append(rest.pop(0))
            while not first.is_async and rest and _fusable(first, rest[0]):
                stages.append(rest.pop(0))
        tail: list[Stage] = []
        while rest and isinstance(rest[0], Stage) and rest[0].inline:
            tail.append(rest.pop(0))
        for stage in (*stages, *tail):
            self._claim(stage)
        for stage in tail:
            _check_inline(stage)
        if not stages:
            return InlineNode(self.runner, tail)
        if first.is_async and first.concurrency == 1:
            return AsyncNode(self.runner, stages, tail)
        return ConcurrentNode(self.runner, stages, tail)

    def _add_tee(
        self, step: tee, rest: list[Step], outlet: Outlet, origin: str, intent: Intent
    ) -> Outlet | None:
        chains: list[Sequence[Step]] = [chain.steps() for chain in step.chains]
        if rest:
            chains.append(rest)
        ends = [self.add_steps(steps, outlet, origin, intent) for steps in chains]
        open_ends = [end for end in ends if end is not None]
        if len(open_ends) > 1:
            self.runner.open_ends += open_ends[:-1]
        return open_ends[-1] if open_ends else None

    def _add_sink(
        self, sink: Sink, outlet: Outlet, origin: str, intent: Intent, domain: list[Node]
    ) -> None:
        # One sink may end several chains, such as one MQTT connection for all.
        for node in (*self.runner.nodes, *self.added):
            if isinstance(node, SinkNode) and node.sink is sink:
                outlet.edges.append(node.inlets[0])
                node.inlets[0].add_writer()
                return
        self._claim(sink)
        node = SinkNode(self.runner, sink)
        self._add(node)
        domain.append(node)
        self._connect(outlet, origin, node, intent, domain)

    def _connect(
        self, outlet: Outlet, origin: str, node: Node, intent: Intent, domain: list[Node]
    ) -> None:
        runner = self.runner
        edge: Edge
        if intent.lossy:
            edge = Entrance(
                origin, node.name, LIVE_CAPACITY, MAX_BYTES, runner.on_drop,
                newest_wins=intent.newest_wins,
                max_age=round(intent.max_age * 1e9),
                limit=lambda: _room(domain),
            )  # fmt: skip
        else:
            edge = Edge(origin, node.name, CAPACITY, MAX_BYTES, runner.on_drop)
        outlet.edges.append(edge)
        node.inlets.append(edge)
        runner.edges.append(edge)
        self.branches[node.name] = edge

    def _add(self, node: Node) -> None:
        self.added.append(node)

    def claim_place(self, step: Any) -> None:
        """Let a step stand in this pipeline, where it stands once.

        Raises:
            GraphError: it stands there already.
        """
        if id(step) in self._placed:
            raise GraphError(f"{step!r} stands in the pipeline twice; make two of them")
        self._placed.add(id(step))

    def give_up_place(self, step: Any) -> None:
        """A step has left the pipeline: another may come to lie where it lay in memory."""
        self._placed.discard(id(step))

    def _claim(self, step: Any) -> None:
        """Give a step its place in this pipeline, and a name that no other has."""
        self.claim_place(step)
        base, n = step.name, 2
        while step.name in self._names:
            step.name = f"{base}-{n}"
            n += 1
        self._names.add(step.name)


def _fusable(first: Stage, step: Step) -> bool:
    return (
        isinstance(step, Stage)
        and not step.is_async
        and not step.inline
        and step.concurrency == first.concurrency
        and step.timeout is None
        and first.timeout is None
    )


def _check_inline(stage: Stage) -> None:
    if stage.is_async or stage.timeout is not None or isinstance(stage.on_error, Retry):
        raise GraphError(
            f"stage {stage.name!r} is inline, so it must be a plain function without timeout= or "
            f"Retry: it would hold up the loop"
        )


def _room(domain: Sequence[Any]) -> int:
    """Return how many items keep the slowest node busy, by Little's law: more would only wait."""
    if not domain:
        return CAPACITY
    most: int = max(node.concurrency for node in domain)
    total = sum(node.service for node in domain)
    slowest = max(node.service / node.concurrency for node in domain)
    return max(most, round(total / slowest)) if slowest else most


def _steps_of(node: Node) -> Sequence[Any]:
    if isinstance(node, SourceNode):
        return (node.source,)
    if isinstance(node, OperatorNode):
        return (node.operator,)
    return node.steps


def _names_of(node: Node) -> list[str]:
    return [step.name for step in _steps_of(node)]
