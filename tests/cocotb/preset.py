"""Components whose registers reset to chosen values, so that a bench reaches wrap-arounds that lie 2^32 records away."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import ModuleType
from typing import Any
from unittest import mock

from amaranth.hdl import Fragment, Module, Signal
from amaranth.lib import wiring


class Preset(wiring.Component):
    """``part`` with other reset values: ``inits[module][name]`` for signals that ``module`` creates under that name.

    Only the reset values differ: the logic is elaborated from the part's own code. ``members[module][class]`` does the same for
    the members of components that ``module`` instantiates. ValueError when a name does not occur.
    """

    def __init__(
        self,
        part: wiring.Component,
        inits: Mapping[ModuleType, Mapping[str, int]],
        members: Mapping[ModuleType, Mapping[str, Mapping[str, int]]] | None = None,
    ) -> None:
        self._part, self._inits, self._members = part, inits, members or {}
        super().__init__(part.signature)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        missed = {name for names in self._inits.values() for name in names}

        def signal_of(names: Mapping[str, int]) -> Any:
            class Factory:
                like = staticmethod(lambda other, **more: Signal.like(other, src_loc_at=1, **more))

                def __new__(cls, *args: Any, **more: Any) -> Any:
                    made = Signal(*args, src_loc_at=1, **more)
                    if isinstance(made, Signal) and made.name in names:
                        made._init = names[made.name]
                        missed.discard(made.name)
                    return made

            return Factory

        def part_of(kind: type, values: Mapping[str, int]) -> Any:
            def make(*args: Any, **more: Any) -> wiring.Component:
                made = kind(*args, **more)
                for name, value in values.items():
                    getattr(made, name)._init = value
                return made

            return make

        with ExitStack() as stack:
            for module, names in self._inits.items():
                stack.enter_context(mock.patch.object(module, "Signal", signal_of(names)))
            for module, kinds in self._members.items():
                for kind, values in kinds.items():
                    stack.enter_context(mock.patch.object(module, kind, part_of(getattr(module, kind), values)))
            m.submodules.part = Fragment.get(self._part, platform)
        if missed:
            raise ValueError(
                f"preset: no signal is called {sorted(missed)}; give names as the component's code has them"
            )
        wiring.connect(m, wiring.flipped(self), self._part)
        return m
