"""The settings that a search varies, and between which values: as text, as the command line takes them."""

from collections.abc import Mapping

from vae_lib.config import TrainConfig
from vae_lib.utils.errors import InputError

# Setting -> LOW:HIGH, evenly; LOW:HIGH:log, evenly in its logarithm; or A,B,... beta is not among them: the
# bound of bits/dim is that of beta 1, and any other weight trains something else.
SPACE = {
    "network": "conv,resnet,hierarchical",
    "latent_dim": "4:128:log",
    "width": "6:32:log",
    "learning_rate": "0.0005:0.01:log",
    "prior": "normal,flow",
}
# What else may be varied: the others change the question, or the cost in a way that epochs do not even out.
VARIABLE = (*SPACE, "beta", "batch_size", "dense_units", "weight_decay", "channels", "tc_weight", "ema")


def parse_settings(words: list[str]) -> dict[str, str]:
    """Read `NAME=VALUES` of each setting.

    Raises:
        InputError: If one has no `=`, or there are two of a name.
    """
    pairs = [word.partition("=")[::2] for word in words]
    for word, (name, values) in zip(words, pairs, strict=True):
        if not (name and values) or [other for other, _ in pairs].count(name) > 1:
            raise InputError(f"vary takes NAME=LOW:HIGH[:log] or NAME=A,B, each name once; received {word!r}")
    return dict(pairs)


def read_space(space: Mapping[str, str]) -> dict[str, tuple]:
    """Return what is said of each setting: ("choice", values), or ("linear" or "log", (low, high)).

    Raises:
        InputError: If a setting is unknown, or its values are not allowed or no range.
    """
    if not space:
        raise InputError("there is no setting left to vary: hold fewer, or name one with --vary")
    return {name: _read(name, str(text)) for name, text in space.items()}


def _read(name: str, text: str) -> tuple[str, tuple]:
    if name not in VARIABLE:
        raise InputError(f"a setting to vary must be one of {', '.join(VARIABLE)}; received {name!r}")
    kind = TrainConfig.__dataclass_fields__[name].metadata["kind"]
    words = text.split(":") if kind is not str else [text]
    scale = "choice" if len(words) == 1 else words[2] if len(words) == 3 else "linear"
    try:
        values = [kind(word) for word in (text.split(",") if scale == "choice" else words[:2])]
    except ValueError:
        values = []
    values = tuple(TrainConfig.check(name, value) for value in dict.fromkeys(values))
    is_range = scale in ("linear", "log") and len(words) < 4 and len(values) == 2 and values[0] < values[1]
    if not values or (scale != "choice" and not is_range):
        raise InputError(f"{name} must vary over LOW:HIGH, LOW:HIGH:log or A,B,...; received {text!r}")
    if scale == "log" and values[0] <= 0:
        raise InputError(f"{name} must be above 0 to vary over its logarithm; received {text!r}")
    return scale, values
