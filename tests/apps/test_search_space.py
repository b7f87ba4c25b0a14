import pytest

from vae_lib.apps.search_space import SPACE, VARIABLE, parse_settings, read_space
from vae_lib.config import TrainConfig
from vae_lib.utils.errors import InputError


def test_a_space_is_read_with_the_kind_of_each_setting():
    text = {
        "latent_dim": "4:128:log",
        "width": "8:48",
        "learning_rate": "1e-3:0.01:log",
        "prior": "normal,flow",
    }
    assert read_space(text) == {
        "latent_dim": ("log", (4, 128)),
        "width": ("linear", (8, 48)),
        "learning_rate": ("log", (0.001, 0.01)),
        "prior": ("choice", ("normal", "flow")),
    }
    assert read_space({"width": "8,16,8", "beta": "1"}) == {
        "width": ("choice", (8, 16)),
        "beta": ("choice", (1.0,)),
    }


def test_the_default_space_holds_the_default_config_and_beta_is_not_in_it():
    for name, (scale, values) in read_space(SPACE).items():
        value = getattr(TrainConfig(), name)
        assert value in values if scale == "choice" else values[0] <= value <= values[1]
    assert "beta" not in SPACE and set(VARIABLE) <= set(TrainConfig.__dataclass_fields__)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({}, "no setting left"),
        ({"epochs": "1:9"}, "must be one of network,.* received 'epochs'"),
        ({"latent_dim": "0:9"}, "latent_dim must be an integer from 1 to 4096; received 0"),
        ({"latent_dim": "9:4"}, "latent_dim must vary over LOW:HIGH, .* received '9:4'"),
        ({"latent_dim": "4:4"}, "received '4:4'"),
        ({"latent_dim": "4:8:cubic"}, "received '4:8:cubic'"),
        ({"latent_dim": "4:8:log:log"}, "received '4:8:log:log'"),
        ({"latent_dim": "four"}, "received 'four'"),
        ({"latent_dim": "2.5:4"}, "received '2.5:4'"),
        ({"learning_rate": "nan"}, "learning_rate must be a finite number above 0"),
        ({"beta": "0:4:log"}, "beta must be above 0 to vary over its logarithm"),
        ({"network": "conv,transformer"}, "network must be one of .*; received 'transformer'"),
        ({"network": "conv:mlp"}, "network must be one of .*; received 'conv:mlp'"),
        ({"prior": ""}, "prior must be one of"),
    ],
)
def test_a_bad_space_is_refused_in_one_line(space, words):
    with pytest.raises(InputError, match=words) as error:
        read_space(space)
    assert "\n" not in str(error.value)


def test_settings_of_the_command_line_are_names_and_values_each_once():
    assert parse_settings(["beta=0.5:2:log", "width=8,16"]) == {"beta": "0.5:2:log", "width": "8,16"}
    assert parse_settings([]) == {}
    for words in (["beta"], ["beta="], ["=3"], ["width=8:9", "width=8:16"]):
        with pytest.raises(InputError, match="NAME=LOW:HIGH"):
            parse_settings(words)
