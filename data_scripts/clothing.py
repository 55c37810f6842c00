"""Download, verify and unpack clothing-dataset-small (110 MB, CC0 1.0) into VSA_DATA_DIR."""

import sys

from vsa.data.public import download_dataset
from vsa.runtime.errors import InputError

if __name__ == "__main__":
    try:
        download_dataset("clothing")
    except InputError as error:
        print(f"vsa: {error}", file=sys.stderr)
        sys.exit(2)
