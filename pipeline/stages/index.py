"""Lists which classes each image of a data set shows."""

import logging
from pathlib import Path

from dkd.data import catalog, index, survey

log = logging.getLogger("dkd")


def run(params: dict, runtime: dict, inputs: dict[str, Path], out: Path) -> dict:
    """index.csv and index.json; inputs: data."""
    stored = {int(value): label for value, label in params["stored"].items()} if "stored" in params else None
    share = survey.Share(params["split"], params["split_seed"]) if "split" in params else None
    contents = catalog.contents(params["format"], inputs["data"], stored, listed=share is None)
    table, seen = survey.build(inputs["data"], params["dataset"], contents, decode=True, split=share)
    log.info("%s", "\n".join([survey.table(seen), *(f"warning: {each}" for each in seen.warnings)]))
    index.write(table, out / "index.csv")
    return {"images": len(table.rows)}
