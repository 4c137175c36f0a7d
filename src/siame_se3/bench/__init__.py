"""The paper's experiments, one file each: laws and networks, what is run, what is reported.

networks.py   the networks that rows need, trained when they are missing
laws.py       the rows: which controller, which camera, which gain
cells.py      runs of one law under one condition, kept in a CSV: what resumes, and what shards share out
table1.py     Table I, and from the same runs Fig. 2 (convergence against overlap)
wide.py       far starts
perturb.py    one disturbance at a time
fig3.py       one network for several scenes, and scenes never seen
robot.py      Fig. 4 and 5: the paper's robot runs
training.py   what training costs
photos.py     the photos of several scenes: a fixed list and split
report.py     tables and pages
"""
