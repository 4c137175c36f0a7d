"""After runs that failed: the reason and the next command."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from siame_se3.analysis.failures import Failure
from siame_se3.cli.advice import Asked, advise
from siame_se3.geometry.camera import Camera
from siame_se3.networks.checkpoint import Model
from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.siamese import SiameseNetwork

CAMERA = Camera.from_focal(300, 224)
ASKED = Asked("shelf", "photos/shelf.jpg", 0.8, 0.6, CAMERA, "handoff", 500, None)
ELSEWHERE = [Failure("elsewhere", 3, "3 runs of 10 ended away from the goal")]


@pytest.fixture(scope="module")
def known(tiny: NetworkConfig) -> Asked:
    """A model of the scene."""
    model = Model(SiameseNetwork(tiny), CAMERA.resized(32), 0.6, 0.8, {"photo": ["shelf"]})
    return replace(ASKED, model=model, name="shelf.safetensors")


def words(asked: Asked, found: Any = ELSEWHERE, converged: bool = True) -> str:
    return "\n".join(advise(asked, found, converged))


def test_nothing_failed_nothing_is_said(known: Asked) -> None:
    assert words(known, []) == ""


def test_a_model_of_another_photo(known: Asked) -> None:
    """It was 0 %, exit status 0, and no word."""
    said = words(replace(known, scene="desk", photo="desk.jpg", width=1.2), converged=False)
    assert said.startswith("no run converged\n3 runs of 10")
    assert "the model shelf.safetensors was trained on shelf, and knows no other scene; this one is desk" in said
    assert "siame train desk.jpg --width 1.2 --distance 0.6 --out desk.safetensors" in said
    assert "--model any-scene --scene desk.jpg" in said
    assert "give --width" not in said


def test_other_sizes_than_the_models(known: Asked) -> None:
    assert "trained for a scene width of 0.8 m, this is 1.2 m: give --width 0.8" in words(replace(known, width=1.2))
    assert "trained for a distance of 0.6 m, this is 0.3 m: give --distance 0.6" in words(replace(known, distance=0.3))
    assert "--fov" in words(replace(known, camera=Camera.from_focal(200, 224)))
    assert "trained for" not in words(replace(known, width=0.805))


def test_what_helps_by_what_happened(known: Asked) -> None:
    assert "--distance" in words(known, [Failure("repeats", 5, "")])
    assert "field of view" in words(known, [Failure("undetermined", 5, "")])
    assert "--max-iterations 1000" in words(known, [Failure("unfinished", 5, "")])
    assert "--law handoff" in words(replace(ASKED, law="dvs"))
    assert "siame train photos/shelf.jpg --width 0.8 --distance 0.6" in words(ASKED)
    assert "next: train shelf.safetensors longer, or let the law auto begin" in words(known)
    assert "--figure" in words(replace(known, law="auto"))


def test_names_with_spaces_are_quoted(known: Asked) -> None:
    """'WhatsApp Image ... at 10.12.05.jpeg': the command could not be copied."""
    photo = "my photos/Image at 10.12.05.jpeg"
    said = words(replace(known, scene="Image at 10.12.05", photo=photo))
    assert "siame train 'my photos/Image at 10.12.05.jpeg' --width" in said
    assert "--out 'Image at 10.12.safetensors'" in said
    assert "--scene 'my photos/Image at 10.12.05.jpeg'" in said
    assert "siame train 'my photos/Image at 10.12.05.jpeg'" in words(replace(ASKED, photo=photo, law="neural"))
