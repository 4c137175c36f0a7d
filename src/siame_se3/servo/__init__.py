"""How do a law and a plant meet?

loop (`servo`), guard (safety), trajectory, simulation (whole simulated runs).
A file here closes the loop or watches it; what to command is for laws, what moves is for plants.
"""
