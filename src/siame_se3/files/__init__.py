"""Files: the one atomic write and the lock of long jobs, bounded reading of what others wrote, dataclasses from JSON, what comes with the package,
what a job says while it runs.

Nothing here reads more than a limit that it knows beforehand, and nothing writes a file that could be seen half.
"""

from siame_se3.files.arrays import read_npy, read_npz
from siame_se3.files.bundled import BUNDLED_MODEL, BUNDLED_MODELS, BUNDLED_PHOTO, bundled, hardware, model_file
from siame_se3.files.progress import Counter, doing
from siame_se3.files.reading import (
    MOST_OWN,
    parse_json,
    read_bytes,
    read_csv_rows,
    read_csv_table,
    read_json,
    read_text,
    read_yaml,
    shown,
)
from siame_se3.files.typed import from_dict, require_types
from siame_se3.files.writing import atomically, exclusive, write_csv_rows, write_text

__all__ = [
    "BUNDLED_MODEL",
    "BUNDLED_MODELS",
    "BUNDLED_PHOTO",
    "MOST_OWN",
    "Counter",
    "atomically",
    "bundled",
    "doing",
    "exclusive",
    "from_dict",
    "hardware",
    "model_file",
    "parse_json",
    "read_bytes",
    "read_csv_rows",
    "read_csv_table",
    "read_json",
    "read_npy",
    "read_npz",
    "read_text",
    "read_yaml",
    "require_types",
    "shown",
    "write_csv_rows",
    "write_text",
]
