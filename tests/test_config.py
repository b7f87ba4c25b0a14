import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_lib.config import EvaluationConfig, TrainConfig
from vae_lib.models.likelihoods import LIKELIHOODS
from vae_lib.utils.errors import InputError

CHOICES = {name: field.metadata["choices"] for name, field in TrainConfig.__dataclass_fields__.items()}

configs = st.builds(
    TrainConfig,
    dataset=st.text(min_size=1).filter(str.strip),
    latent_dim=st.integers(1, 4096),
    beta=st.floats(0, 1e6),
    likelihood=st.sampled_from(CHOICES["likelihood"]),
    epochs=st.integers(1, 1000),
    learning_rate=st.floats(1e-8, 1.0),
    weight_decay=st.floats(0.0, 10.0),
    n_train=st.none() | st.integers(1, 10**6),
    seed=st.integers(0, 2**31 - 1),
)


@given(configs)
def test_a_config_survives_json(config):
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@given(configs, st.text(min_size=1))
def test_run_names_are_plain_file_names_whatever_the_data_set_is_called(config, fingerprint):
    name = config.run_name(fingerprint)
    assert name.isascii() and len(name) < 120 and not set(name) & set("/\\ \n\t\0:") and name[0] not in ".-"


def test_run_name_says_what_it_is_and_its_hash_covers_everything():
    config = TrainConfig(dataset="mnist", latent_dim=16, beta=4.0)
    name = config.run_name("abc")
    assert name.startswith("mnist-z16-b4-s0-") and name == TrainConfig(
        dataset="mnist", latent_dim=16, beta=4
    ).run_name("abc")
    others = [
        dataclasses.replace(config, **change) for change in ({"epochs": 11}, {"width": 8}, {"beta": 4.5})
    ]
    assert len({name, config.run_name("abd"), *(other.run_name("abc") for other in others)}) == 5


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("latent_dim", value) for value in (0, -1, 2.5, 10**9, True, "8", None)],
        *[("beta", value) for value in (-1, float("nan"), float("inf"), "1", None, 1.1e9, 1e38)],
        *[("batch_size", 0), ("epochs", 0), ("epochs", 1.0), ("seed", -1), ("seed", 2**31)],
        *[("learning_rate", value) for value in (0, -1e-3, float("nan"))],
        *[("weight_decay", value) for value in (-0.1, float("inf"), "much")],
        *[("likelihood", "gauss"), ("annealing", "exponential"), ("dataset", ""), ("dataset", " ")],
        *[("prior", "vamp"), ("network", "cnn"), ("binarize", 1), ("conditional", "yes"), ("dataset", 3)],
        *[("image_size", 0), ("n_train", 0), ("width", 0), ("dense_units", 10**9)],
    ],
)
def test_bad_values_are_refused_with_field_and_value(field, value):
    with pytest.raises(InputError) as error:
        TrainConfig(**{field: value})
    assert field in str(error.value) and repr(value) in str(error.value) and "\n" not in str(error.value)


def test_beta_zero_is_allowed():
    assert TrainConfig(beta=0).beta == 0.0


def test_unknown_fields_are_refused():
    with pytest.raises(InputError, match="colour"):
        TrainConfig.from_dict({"colour": "blue"})


def test_missing_fields_are_refused_since_todays_default_may_not_be_theirs():
    fields = TrainConfig().to_dict()
    del fields["weight_decay"]
    with pytest.raises(InputError, match="lacks weight_decay"):
        TrainConfig.from_dict(fields)


def test_difference_names_both_values():
    one, other = TrainConfig(), TrainConfig(latent_dim=8, beta=2)
    assert one.difference(other) == "latent_dim: 16 -> 8, beta: 1.0 -> 2.0"
    assert one.difference(TrainConfig()) == ""


def test_the_likelihoods_named_here_are_those_there_are():
    assert set(CHOICES["likelihood"]) == set(LIKELIHOODS)


def test_annealing_that_would_not_finish_is_refused():
    for kind in CHOICES["annealing"][1:]:
        assert TrainConfig(annealing=kind, epochs=4, anneal_epochs=2)
        for length in (0, 4, 5):
            with pytest.raises(InputError, match="finish"):
                TrainConfig(annealing=kind, epochs=4, anneal_epochs=length)
    with pytest.raises(InputError, match="annealing is 'none'"):
        TrainConfig(anneal_epochs=2)


def test_a_cycle_that_the_run_would_break_off_is_refused():
    assert TrainConfig(annealing="cyclical", epochs=9, anneal_epochs=4.5)
    assert TrainConfig(annealing="cyclical", epochs=3, anneal_epochs=0.3)  # though 3 % 0.3 is not 0
    with pytest.raises(InputError, match=r"whole cycle.*\(9\).*received 4.0"):
        TrainConfig(annealing="cyclical", epochs=9, anneal_epochs=4)


def test_linear_annealing_rises_evenly_and_stays():
    config = TrainConfig(beta=4.0, annealing="linear", anneal_epochs=2)
    betas = [config.beta_at(step, 5) for step in range(15)]
    np.testing.assert_allclose(betas[:11], np.linspace(0, 4, 11))
    assert betas[11:] == [4.0] * 4


def test_cyclical_annealing_rises_over_half_of_each_cycle():
    config = TrainConfig(beta=2.0, annealing="cyclical", anneal_epochs=2)
    betas = [config.beta_at(step, 4) for step in range(16)]
    np.testing.assert_allclose(betas[:8], [0, 0.5, 1, 1.5, 2, 2, 2, 2])
    assert betas[8:] == betas[:8]


def test_without_annealing_beta_is_beta():
    assert TrainConfig(beta=3.0).beta_at(0, 10) == 3.0


def test_numbers_of_numpy_are_numbers():
    config = TrainConfig(latent_dim=np.int64(8), beta=np.float32(4))
    assert config == TrainConfig(latent_dim=8, beta=4.0) and json.dumps(config.to_dict())


def test_scales_of_numpy_are_scales():
    config = TrainConfig(network="hierarchical", scale_blocks=(np.int64(2), np.int64(1)))
    assert config == TrainConfig(network="hierarchical", scale_blocks=[2, 1]) and config.run_name("x")


def test_help_lists_every_field_with_its_meaning():
    for kind in (TrainConfig, EvaluationConfig):
        for name, field in kind.__dataclass_fields__.items():
            assert f"{name}: {field.metadata['help']}" in kind.__doc__


def test_defaults_and_their_order_stay_since_names_of_runs_depend_on_them():
    assert TrainConfig().run_name("abc") == "fashion_mnist-z16-b1-s0-d2e713f2"
    assert list(TrainConfig().to_dict())[:3] == ["dataset", "latent_dim", "beta"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seeds", (0,)),
        ("seeds", 3),
        ("seeds", ("a", "b")),
        ("seeds", (0, 0)),
        ("n_samples", 0),
        ("iwae_k", 2.5),
    ],
)
def test_bad_evaluations_are_refused_with_field_and_value(field, value):
    with pytest.raises(InputError, match=field) as error:
        EvaluationConfig(**{field: value})
    assert repr(value) in str(error.value)
    assert EvaluationConfig().to_dict()["seeds"] == [0, 1, 2]
