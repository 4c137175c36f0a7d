from __future__ import annotations

from siame_se3.analysis import plots
from siame_se3.analysis.ladder import Curve


def test_a_curve_is_in_all_panels_and_explained_beside_them() -> None:
    curves = [
        Curve("paper", "b3", [10, 100], [0.1, 1.0], [0.0, 50.0], [300.0, 40.0]),
        Curve("ours", "b3", [10, 100], [0.1, 1.0], [40.0, 100.0], [20.0, 0.0]),
        Curve("ours", "small", [50], [0.2], [90.0], [1.0]),
    ]
    figure = plots.ladder(curves, "what was run")
    panels = figure.axes
    assert [len(axes.lines) for axes in panels] == [3] * 4
    above, above_hours, below, below_hours = panels
    assert list(above.lines[0].get_xdata()) == [10, 100]
    assert list(above_hours.lines[0].get_ydata()) == [0.0, 50.0]
    assert list(below_hours.lines[2].get_xdata()) == [0.2]
    assert all(y > 0 for line in below.lines for y in line.get_ydata())  # the axis is logarithmic
    assert above.lines[0].get_color() == above.lines[1].get_color() != above.lines[2].get_color()
    assert above.lines[1].get_linestyle() == above.lines[2].get_linestyle() != above.lines[0].get_linestyle()
    assert not any(axes.get_legend() for axes in panels)
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert [label for label in labels if label] == ["b3", "small", "paper", "ours"]
