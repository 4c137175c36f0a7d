"""What does the world do with a velocity?

types (Plant), flying (N cameras), arm (MuJoCo), mismatch (errors of the model), faults; robots/ has the real ones.
A new plant is a file here, tested by `check_plant`.
"""
