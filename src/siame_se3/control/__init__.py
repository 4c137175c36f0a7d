"""Which velocity? A Controller aims at a desired view and gives a Law; a Law gives the camera's velocity.

    law = controller.aim(target)   # once: S(I*), the desired interaction matrix, ...
    v = law(view)                  # (*B, 6), camera frame, m/s and rad/s, at gain 1

`check_law` is the test of whoever adds one.
"""

from siame_se3.control.base import Advice, Controller, Law, StatefulLaw, advise, check_law

__all__ = ["Advice", "Controller", "Law", "StatefulLaw", "advise", "check_law"]
