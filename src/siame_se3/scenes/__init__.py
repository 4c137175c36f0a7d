"""What is there to see?

planar (a photo as a print), render, poses (desired poses, starts), views (for training), conditions (light, noise, patches).
A new kind of scene is a file here.
"""
