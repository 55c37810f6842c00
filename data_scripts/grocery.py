"""Download, verify and unpack GroceryStoreDataset (130 MB, MIT) into VSA_DATA_DIR."""

import sys

from vsa.data.public import download_dataset
from vsa.runtime.errors import InputError

if __name__ == "__main__":
    try:
        download_dataset("grocery")
    except InputError as error:
        print(f"vsa: {error}", file=sys.stderr)
        sys.exit(2)
