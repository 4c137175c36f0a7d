"""The commands by name, with one line each: known without importing any of them.

`siame --help` reads only this file. A test compares each line with the first line of its command's docstring.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Command:
    """Where a command is, and what it does for its user.

    Attributes:
        place: 'module:Class' of its dataclass, inside `siame_se3.cli`; the dataclass's fields are the command's options.
        summary: the first line of the dataclass's docstring.
        resumes: whether the same command goes on where it was after Ctrl-C.
    """

    place: str
    summary: str
    resumes: bool = False

    def load(self) -> type[Any]:
        """The dataclass, imported now with all that it needs."""
        module, _, name = self.place.partition(":")
        found: type[Any] = getattr(import_module(f"siame_se3.cli.{module}"), name)
        return found


COMMANDS = {
    "demo": Command("demo:Demo", "Move 256 simulated cameras to where a bundled photo was taken."),
    "page": Command("page:Page", "See laws at work in a browser: drag the camera away, and it comes home."),
    "train": Command("train:Train", "Train a network on a photo of your scene.", resumes=True),
    "servo": Command("servo:Servo", "Run a law from many start poses in simulation; print how well it ends."),
    "align": Command("align:Align", "Say where the camera is beside a reference photo, and how to move it back."),
    "live": Command("live:Live", "Move a real robot's camera to where a picture was taken."),
    "target": Command("target:Target", "Take the goal image from a robot's camera; with --scan its depth too."),
    "check": Command("calibrate:Check", "Find wrong axes, colours and calibrations of a robot by small motions."),
    "calibrate": Command("calibrate:Calibrate", "Calibrate a camera, and its mounting on the robot, from pictures."),
    "arm": Command("live:Arm", "Serve a simulated arm over ROS 2, as a robot to try 'siame live' on."),
    "replay": Command("replay:Replay", "Ask laws for the views of a recording, and compare what they say."),
    "plot": Command("plot:Plot", "Draw the figure of saved runs: images, errors, twists, paths."),
    "export": Command("export:Export", "Write a model as ONNX or OpenVINO files, for programs without PyTorch."),
    "doctor": Command("doctor:Doctor", "See what works on this machine, what does not, and the command that helps."),
    "bench": Command("bench:Bench", "Repeat the paper's experiments: tables, figures, reports.", resumes=True),
}
