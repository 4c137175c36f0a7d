"""How does a network learn?

recipe (all options of a training), batches (views, pairs, teacher), trainer (one step), state (stop and go on), processes (several of them,
sums in a fixed order), driver: `fit` trains for the command, the experiments and the ablation alike.
"""
