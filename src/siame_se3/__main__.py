"""python -m siame_se3."""

from siame_se3.cli import main

if __name__ == "__main__":
    main()
