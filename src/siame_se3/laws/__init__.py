"""Which velocity?

types (View, Controller, Law), registry (laws by name), pose, matched, photometric, light, neural, handoff.
A new law is a file here, tested by `check_law`.
"""
