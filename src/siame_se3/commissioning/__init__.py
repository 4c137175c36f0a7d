"""Is a real robot set up as assumed?

calibration (camera, hand-eye), check (test motions), session (target, start, stop).
What a person does before and while a real robot moves belongs here.
"""
