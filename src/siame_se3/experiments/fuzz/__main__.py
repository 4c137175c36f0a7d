"""python -m siame_se3.experiments.fuzz"""

import sys

from siame_se3.experiments.fuzz.runner import main

if __name__ == "__main__":
    sys.exit(main())
