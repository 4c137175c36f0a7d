"""What did the runs show?

metrics (tables), plots (figures: overview, robot_run, curves; style has what they share).
Trajectories and rows in, tables and pictures out; nothing is shown on a screen.
"""
