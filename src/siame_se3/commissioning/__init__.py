"""Is a real robot set up as assumed?

boards, camera and hand_eye (calibration, each with an acceptance test), check (test motions), session (target, start, stop).
What a person does before and while a real robot moves belongs here.
"""
