"""What did the runs show?

metrics (tables), plots (figures), report (tables as text and CSV, pages).
Trajectories and rows in, tables and pictures out; nothing is shown on a screen.
"""
