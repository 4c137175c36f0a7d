"""What the tests of the experiments share: a recipe that trains in a moment."""

from __future__ import annotations

from siame_se3.networks.config import NetworkConfig
from siame_se3.networks.losses import LossConfig
from siame_se3.training.data import DataConfig
from siame_se3.training.recipe import Recipe

TINY_RECIPE = Recipe(
    NetworkConfig("test_resnet", 48, head=(16,)), LossConfig(), DataConfig(views=4, near=0.25, curriculum=0.0)
)
