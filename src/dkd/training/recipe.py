"""What a step is trained with. Knows no tensors and no files."""

from typing import Any, NamedTuple


def of_phase(shared: dict[str, Any], phase: dict[str, Any]) -> dict[str, Any]:
    """The values of a phase of training, `base:` or `increment:`, over those `shared` by both; None is no value."""
    return {**shared, **{name: value for name, value in phase.items() if value is not None}}


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
