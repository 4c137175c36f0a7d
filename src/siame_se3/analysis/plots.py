"""Trajectories and shares -> figures, by name. Pure: nothing is shown, nothing global is changed; `save` writes the file.

overview (a servo run or a batch), robot_run (the paper's Fig. 4 and 5), curves (success, overlap, scenes, basins, heat_map), ladder, style (what all share).
"""

from __future__ import annotations

from siame_se3.analysis.curves import basins, heat_map, overlap, scenes, success
from siame_se3.analysis.ladder import ladder
from siame_se3.analysis.overview import overview
from siame_se3.analysis.robot_run import robot_run
from siame_se3.analysis.style import save

__all__ = ["basins", "heat_map", "ladder", "overlap", "overview", "robot_run", "save", "scenes", "success"]
