"""Makes the images of README and docs/tutorial.md (docs/images/) from the finished default run.

python benchmarks/pictures.py
"""

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from dkd.config import read  # noqa: E402
from dkd.data import reader  # noqa: E402
from dkd.use import explain  # noqa: E402
from dkd.use.predict import Predictor  # noqa: E402
from pipeline import plan as plans  # noqa: E402
from pipeline.publish import METRICS  # noqa: E402

OUT = ROOT / "docs" / "images"
PICTURE, CLASS = "images/val_00094.png", "cross"


def main() -> None:
    """Figures of the report, one class explained for two methods, and one labelled image."""
    plan = plans.build(read.load(ROOT / "params.yaml"), fresh=False)
    folders = {node.place: ROOT / node.folder for node in plan.nodes.values()}
    base = folders["checkpoints/base/shapes/overlap/4/s0"]
    picture = folders["data/made/shapes"] / PICTURE
    OUT.mkdir(exist_ok=True)
    for name in ("miou", "drift"):
        shutil.copyfile(ROOT / METRICS / f"{name}.png", OUT / f"{name}.png")
    for method in ("finetune", "dkd"):
        last = folders[f"checkpoints/increment/shapes/overlap/4+1+1/{method}-s0"]
        pixels = reader.read_image(picture)
        figure = explain.draw(pixels, explain.explain(last, pixels, CLASS, base, "cpu"))
        figure.savefig(OUT / f"explain-{method}.jpg", dpi=80, pil_kwargs={"quality": 85, "optimize": True})
    predictor = Predictor(last, "cpu", size=None, tile=1024, threads=1)
    predictor.overlay(picture, predictor(picture)).save(OUT / "overlay.png", optimize=True)
    for path in sorted(OUT.iterdir()):
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
