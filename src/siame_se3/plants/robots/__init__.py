"""Which real robot, which real camera?

live (a camera source and a velocity driver as a plant), ros2, ur, opencv; served (the simulated arm on ROS 2 topics).
A new camera source or velocity driver is a file here.
"""
