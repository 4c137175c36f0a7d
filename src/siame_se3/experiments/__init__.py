"""Are the paper's tables and figures reached, and what are our own parts worth?

A file each: table1, wide, perturb, fig3 (cells), robot (fig4, fig5), training; and scripts (`python -m siame_se3.experiments.NAME`).
A new one has `cells(...)` and `page(...)` for `runner`, or rows for `script.table`; both go on where they were stopped.
"""
