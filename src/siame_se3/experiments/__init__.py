"""What do the paper's experiments and ours give?

a file each: table1 (with Fig. 2), wide, perturb, fig3, robot (Fig. 4, 5), training; cells and networks keep what has been run.
A new experiment is a file here, run by `siame bench` or `python -m siame_se3.experiments.NAME`.
"""
