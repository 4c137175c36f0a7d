"""Simulated cameras on a page: one or two laws from one start, which anybody may put anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from siame_se3.commissioning.session import Session
from siame_se3.errors import InputError, LawError, SiameError
from siame_se3.geometry import lie
from siame_se3.laws.types import Controller, View
from siame_se3.networks.checkpoint import Model
from siame_se3.page.disturb import KINDS
from siame_se3.page.setup import NO_LAW, Setup
from siame_se3.page.track import Track
from siame_se3.page.world import FREE, World
from siame_se3.plants.flying import FlyingCameras
from siame_se3.plants.robots.checks import pose_fault
from siame_se3.plants.types import Plant
from siame_se3.scenes.poses import Workspace, draw_starts, reference_pose
from siame_se3.scenes.types import Scene
from siame_se3.servo.config import ServoConfig

_FIRST_START = (0.12, -0.09, -0.06, 0.12, 0.14, 0.35)  # c*Tc [m, rad] at 0.6 m


class Simulation:
    """A `Show` of simulated cameras.

    Calls come from one thread at a time, but `stop`, which may come from any.

    Raises:
        SiameError: a law or a plant that cannot be.
    """

    simulated = True

    def __init__(self, setup: Setup, say: Callable[[str], None] = lambda line: None) -> None:
        self.setup, self._say = setup, say
        self.config, self.model = setup.servo, setup.model
        self.title = f"{setup.scene.name}, simulated"
        self._starts = torch.Generator().manual_seed(7)
        self.goal_pose = reference_pose(setup.distance)
        self.start_pose = self.goal_pose @ self._scaled(_FIRST_START, setup.distance)
        self._controllers: dict[str, Controller] = {}
        self.tracks: list[Track] = []
        self.tracks.append(self._track(setup.law))
        if setup.second != NO_LAW:
            self.set_second(setup.second)

    @staticmethod
    def _scaled(vector: tuple[float, ...], distance: float) -> Float[Tensor, "4 4"]:
        scale = distance / Workspace.distance
        return lie.pose_from_vector(torch.tensor([*(scale * x for x in vector[:3]), *vector[3:]], dtype=torch.float64))

    def _plant(self, scene: Scene) -> Plant:
        return self.setup.plant(scene) if self.setup.plant else FlyingCameras(scene, self.setup.camera)

    def _track(self, law: str) -> Track:
        """A camera of its own at the start pose, under a law."""
        scene = self.tracks[0].world.scene if self.tracks and self.tracks[0].world else self.setup.scene
        world = World(self._plant, scene, self.start_pose, self.setup.paced)
        try:
            target = self._target(world)
            controller = self._controller(law, target)
        except BaseException:  # Ctrl-C too: the world's thread and renderer are let go, and it is raised again
            world.close()
            raise
        known = None if target.distance is None else float(target.distance[0])
        distance = self.setup.distance if known is None or math.isnan(known) else known
        session = Session(world.robot(distance), controller, self.config, FREE, target, _unheard)
        track = Track(session, law, world)
        if self.tracks and self.tracks[0].world:
            world.disturbances.on = self.tracks[0].world.disturbances.on
        track.run()
        track.wait()  # until the law has been asked once: what is not ready yet does not move, and cannot be paused
        return track

    def _target(self, world: World) -> View:
        return world.goal(self.goal_pose)

    def _controller(self, law: str, target: View) -> Controller:
        """A law by its name, kept; its first step is made here, while nothing waits for it."""
        if law not in self._controllers:
            self._say(f"loading {law} ...")
            model = self.model
            if law == "neural" and model is None:
                raise LawError(
                    "neural: no network of this scene; train one on it, or take handoff, which begins with auto"
                )
            controller = self.setup.controllers(law, model)
            function, state = controller.aim(target)
            function(target, state)
            self._controllers[law] = controller
            self._say(f"{law} is ready")
        return self._controllers[law]

    def hear(self, say: Callable[[str], None]) -> None:
        """Give what it says to somebody else from now on."""
        self._say = say

    @property
    def worlds(self) -> list[World]:
        """Of all tracks."""
        return [track.world for track in self.tracks if track.world is not None]

    @property
    def moving(self) -> bool:
        """Whether any moves."""
        return any(track.moving for track in self.tracks)

    def barred(self) -> str:
        """See `Show`: nobody is in danger here."""
        return ""

    def stop(self) -> None:
        """See `Show`."""
        for track in tuple(self.tracks):
            track.stop()

    def _rest(self) -> None:
        self.stop()
        for track in self.tracks:
            track.wait()

    def start(self, visitor: int | None = None, age: float = 0.0, absent: Callable[[], str] = str) -> None:
        """See `Show`; one that moves already begins again."""
        self._rest()
        for track in self.tracks:
            track.session.command("start")

    def left(self, visitor: int) -> None:
        """See `Show`: it makes no difference here."""

    def pause(self, held: bool) -> None:
        """Let time stand still, or go on."""
        for world in self.worlds:
            world.clock.hold(held and self.moving)

    @property
    def paused(self) -> bool:
        """Whether time stands still."""
        return any(world.clock.held for world in self.worlds)

    def place(self, T_wc: Float[Tensor, "4 4"]) -> None:
        """Put all cameras somewhere, at rest; that is where they start from.

        Raises:
            SiameError: no pose, or one that the plant cannot get to.
        """
        if fault := pose_fault(T_wc):
            raise InputError(f"that place is no pose: it {fault}")
        self._rest()
        for world in self.worlds:
            world.place(T_wc)
        self.start_pose = T_wc.double()

    def reset(self) -> None:
        """All cameras back to where they started from."""
        self.place(self.start_pose)

    def another_start(self) -> None:
        """A start pose of the paper's Table I."""
        seed = int(torch.randint(2**31, (1,), generator=self._starts))
        workspace = Workspace().at(self.setup.distance)
        T_wd, T_wc = draw_starts("table1", 1, self.worlds[0].scene, self.setup.camera, workspace, seed)
        self.place(self.goal_pose @ lie.inverse(T_wd[0]) @ T_wc[0])

    def goal_here(self, age: float = 0.0, absent: Callable[[], str] = str) -> None:
        """See `Show`."""
        self._rest()
        before, self.goal_pose = self.goal_pose, self.worlds[0].T_wc
        try:
            self._aim()
        except SiameError:
            self.goal_pose = before
            raise

    def _aim(self) -> None:
        """The goal's view of all tracks, taken again."""
        targets = [self._target(world) for world in self.worlds]
        for track, target in zip(self.tracks, targets, strict=True):
            track.session.target = target

    def _while_at_rest(self, change: Callable[[], None]) -> None:
        """Make a change, and go on where something moved; what was paused stands still, and waits for Start."""
        moved, paused = self.moving, self.paused
        self._rest()
        change()
        if moved and not paused:
            self.start()
        elif paused:
            self._say("changed while paused: press Start to go on from here")

    def set_law(self, law: str, place: int = 0) -> None:
        """Another law for a track."""
        track = self.tracks[place]
        target = track.session.target
        assert target is not None
        controller = self._controller(law, target)

        def change() -> None:
            track.session.controller, track.law = controller, law

        self._while_at_rest(change)

    def set_second(self, law: str) -> None:
        """A second camera under a law of its own, from the same start; 'none' for none."""
        if law != NO_LAW and len(self.tracks) > 1:
            self.set_law(law, 1)
            return
        self._rest()
        if law == NO_LAW:
            for track in self.tracks[1:]:
                self.tracks.remove(track)
                track.close(self._say)
            return
        new = self._track(law)
        self.tracks.append(new)
        self.reset()

    def set_servo(self, config: ServoConfig) -> None:
        """Other gain, stop rules and limits."""

        def change() -> None:
            self.config = config
            for track in self.tracks:
                track.session.config = config

        self._while_at_rest(change)

    def disturb(self, kinds: frozenset[str]) -> None:
        """Disturbances that are on, of KINDS; while it runs."""
        assert kinds <= set(KINDS)
        for track, world in zip(self.tracks, self.worlds, strict=True):
            world.disturbances.on = kinds
            if not track.moving:
                world.refresh()

    def show(self, scene: Scene, model: Model | None = None) -> None:
        """Another scene, with a network of it or without; the goal is in front of its middle.

        Raises:
            SiameError: it cannot be shown, or its middle shows nothing; all is as it was, and at rest.
        """
        self._rest()
        put_back = self._kept()
        try:
            self.goal_pose = reference_pose(self.setup.distance)
            self.start_pose = self.goal_pose @ self._scaled(_FIRST_START, self.setup.distance)
            for world in self.worlds:
                world.show(scene, self.start_pose)
            self.title = f"{scene.name}, simulated"
            self._aim()
            self.take(model)
        except (SiameError, OSError):
            put_back()
            raise

    def _kept(self) -> Callable[[], None]:
        """What puts all back as it is now."""
        poses, title, model = (self.goal_pose, self.start_pose), self.title, self.model
        controllers = self._controllers
        worlds = [(world, world.scene, world.T_wc) for world in self.worlds]
        tracks = [(track, track.law, track.session.controller, track.session.target) for track in self.tracks]

        def put_back() -> None:
            (self.goal_pose, self.start_pose), self.title, self.model = poses, title, model
            self._controllers = controllers
            for track, law, controller, target in tracks:
                track.law, track.session.controller, track.session.target = law, controller, target
            for world, scene, T_wc in worlds:
                if world.scene is not scene:
                    world.show(scene, T_wc)
                elif not torch.equal(world.T_wc, T_wc):
                    world.place(T_wc)

        return put_back

    def take(self, model: Model | None) -> None:
        """Laws of another network, or of none."""
        self.model = model
        self._controllers = {}
        for k, track in enumerate(tuple(self.tracks)):
            law = "handoff" if track.law == "neural" and model is None else track.law
            self.set_law(law, k)

    def close(self) -> None:
        """See `Show`."""
        self.stop()
        for track in self.tracks:
            track.close(self._say)


def _unheard(line: str) -> None:
    """What a session says is shown by its track."""
