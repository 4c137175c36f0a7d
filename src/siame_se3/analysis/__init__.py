"""What did the runs show?

metrics (tables), plots (figures: overview, robot_run, curves; style has what they share), report (tables as text and CSV, pages).
Trajectories and rows in, tables and pictures out; nothing is shown on a screen.
"""
