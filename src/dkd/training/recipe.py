"""What a step is trained with. Knows no tensors and no files."""

from typing import Any, NamedTuple

from dkd.methods import Options


def of_step(sections: dict[str, dict[str, Any]], step: int) -> dict[str, Any]:
    """The values that a step is trained with, of the sections `train`, `base` and `increment` of params.yaml.

    Those of `increment.steps` for this step take precedence over those of its phase, and these over `train`; None is
    no value.
    """
    phase = dict(sections["increment" if step else "base"])
    own = phase.pop("steps", {}).get(str(step), {})
    given = {name: value for values in (phase, own) for name, value in values.items() if value is not None}
    return {**sections["train"], **given}


class Recipe(NamedTuple):
    """What a step is trained with besides method, network and images; every value is part of the result."""

    epochs: int
    batch: int
    """Images per optimizer step, over all processes."""
    crop: int
    """Side of the square training crops in pixels."""
    scale: tuple[float, float]
    """Range of a crop's share of the image, as `RandomResizedCrop` takes it."""
    ratio: tuple[float, float]
    """Range of a crop's aspect ratio."""
    flip: float
    """Probability of a horizontal flip."""
    lr: float
    """Learning rate of the backbone; decoder and classifiers learn `head_lr` times as fast."""
    head_lr: float
    momentum: float
    nesterov: bool
    weight_decay: float
    """On everything at the base; on the new classifier alone later (but see `rates`)."""
    power: float
    """Of the polynomial decay, per iteration."""
    warmup: float
    """Share of the iterations in which the learning rate rises linearly; the decay comes after."""
    pos_weight: float
    """Weight of positive pixels in mBCE (paper: gamma)."""
    void: str
    """Void pixels count as `negative` or are `ignore`d."""
    precision: str
    """fp32, bf16 or fp16; losses are float32 in any case."""
    seed: int
    loss_options: dict[str, Any]
    """What the method's loss takes by name: weights and variants."""
    head_init: str
    """What new classifiers start from (`dkd.model.starts.STARTS`)."""
    replay: str | None
    """Labels of replayed images: `current`, `stored` or `pseudo` (`dkd.methods.dkd_m`); None without replay."""
    rates: dict[str, float]
    """By part (`dkd.methods.PARTS`), at which multiple of `lr` it learns in later steps, with weight decay; 0: it is
    frozen. A part without one learns as `lr` and `head_lr` say."""
    train_norms: bool
    """Whether batch norms are trained in later steps, as at the base."""
    frozen: bool | None
    """Whether the backbone is kept unchanged in this step; None: as in the step before."""


def build(values: dict[str, Any], seed: int, options: Options) -> Recipe:
    """The recipe of a step: `values` as `of_step` gives them, and the options of its method."""
    return Recipe(
        **{"frozen": None, **values},
        seed=seed,
        loss_options=options.loss,
        head_init=options.head_init,
        replay=options.replay,
        rates=options.rates,
        train_norms=options.train_norms,
    )
