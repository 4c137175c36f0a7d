"""Which real robot, which real camera?

live is the plant: a camera source (ros2_camera, opencv) and a velocity driver (ros2_driver, ur) behind a gate that checks what is sent
and stops the robot; interfaces has the two protocols. served: the simulated arm on ROS 2 topics. A new camera source or velocity driver is a file here.
"""
