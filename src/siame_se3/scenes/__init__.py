"""What is there to see?

planar (a photo as a print), render, poses (desired poses, starts), overlap (what a camera sees), views (for training), conditions (light, noise, patches).
A new kind of scene is a file here.
"""
