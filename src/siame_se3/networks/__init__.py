"""What is the network?

config, backbone, pooling, fusion, matching, losses, engines (what runs it), checkpoint and export (files).
A new pooling, fusion or engine belongs here; it knows no plant.
"""
