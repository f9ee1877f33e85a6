"""The workflow: from params.yaml to nodes, their keys and their folders; knows nothing of tensors."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# The code whose digest is taken is that of this checkout; so must be the code that runs, whatever is installed.
sys.path.insert(0, str(ROOT / "src"))
