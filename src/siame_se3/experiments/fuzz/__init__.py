"""Fuzz: every reader of files and messages with spoilt input, in worker processes that are watched.

    python -m siame_se3.experiments.fuzz --cases 100000 --jobs 2

What is right: a reader takes its input, or refuses it with a SiameError of one line, within 1 GB and 5 s. Everything else is counted as what
it was, and listed with its case, which `--case READER/NUMBER` runs again. A case depends on the seed, the reader and its number alone.
"""
