"""Where are things, and how do they move?

lie (SE(3)), camera (a rectified pinhole), camera_info (what others write of it), plane (the plane z = 0, its homographies, poses from them), twist (frames of twists).
A file here is pure mathematics of poses and projections; it knows no image and no robot.
"""
