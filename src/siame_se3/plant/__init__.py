"""What does the world do with a velocity? A Plant takes twists and gives views.

`check_plant` is the test of whoever adds one.
"""

from siame_se3.plant.base import Plant, check_plant
from siame_se3.plant.homography import HomographyPlant
from siame_se3.plant.mismatch import Mismatch

__all__ = ["HomographyPlant", "Mismatch", "Plant", "check_plant"]
