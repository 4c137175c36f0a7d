"""What did the runs show?

metrics (tables), plots (figures).
Trajectories and rows in, tables and pictures out; nothing is shown on a screen.
"""
