"""How does a network learn?

batches (views, pairs, teacher), trainer.
One driver for the command, the experiments and the ablations.
"""
