import numpy as np
import pandas as pd
import pytest

from vae_lib.apps.diagnosis.history import kind_of, read_history
from vae_lib.utils.errors import InputError


@pytest.mark.parametrize(
    ("columns", "names"),
    [

        ("epoch,loss,distortion,rate,beta", "loss reconstruction_loss kl_loss beta_history"),
        ("Epoch;Total Loss;Reconstruction_Loss;KLD", "loss reconstruction_loss kl_loss"),
        ("train_loss,test_loss,kl_weight,lr", "loss val_loss beta_history learning_rate"),
        ("train/loss,val/loss,loss/kl_divergence", "loss val_loss"),
        ("train_bce_epoch,train_bce_step,train_kl_epoch,valid_kl", "reconstruction_loss kl_loss val_kl_loss"),
        ("loss,accuracy,kl_0,kl_1,val_kl_1", "loss kl_loss:0 kl_loss:1 val_kl_loss:1"),
        ("\ufefftest_elbo", "val_loss"),
    ],
)  # fmt: skip
def test_columns_are_known_by_their_usual_names(columns, names, tmp_path):
    path = tmp_path / "history.csv"
    separator = ";" if ";" in columns else ","
    row = separator.join(["1"] * len(columns.split(separator)))
    path.write_text(f"{columns}\n{row}\n", encoding="utf-8")
    assert set(read_history(path)) == set(names.split())


def test_cells_that_are_blank_or_na_were_not_logged_and_nan_was(tmp_path):
    path = tmp_path / "metrics.csv"  # as Lightning writes it: training and validation in rows of their own
    path.write_text("epoch,step,train_loss,val_loss\n0,9,,5\n0,9,6,\n1,19,NA,nan\n1,19,4,\n1,20,3,\n")
    history = read_history(path)
    pd.testing.assert_series_equal(
        history["loss"], pd.Series([6.0, 3.0], pd.Index([0, 1], name="epoch")), check_names=True
    )
    assert list(history["val_loss"].index) == [0, 1] and np.isnan(history["val_loss"][1])


def test_an_elbo_becomes_a_loss_and_a_column_says_its_kind():
    assert list(read_history({"val_elbo": [-150.0, -140.0]})["val_loss"]) == [150, 140]
    assert list(read_history({"neg_elbo": [150.0]})["loss"]) == [150]
    kinds = {name: kind_of(read_history({name: [1.0]})) for name in ("train_bce", "mse_loss", "l1", "recon")}
    assert kinds == {"train_bce": "bce", "mse_loss": "mse", "l1": "l1", "recon": None}
    assert kind_of(read_history({"loss": [1.0]})) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read"),
        ("loss\n", "no rows"),
        (
            "epoch,accuracy\n1,2\n",
            "no column of a known name .*'accuracy'.*loss, reconstruction_loss",
        ),
        ("epoch,lr\n1,2\n", "no column of a known name"),
        ("loss,kl\n1,tensor(2)\n", "column 'kl'.*give numbers"),
        ("epoch,loss\none,1\n", "column 'loss'.*give numbers"),
        ("epoch,loss\n1,\n2,NA\n", "no values in the columns epoch, loss"),
    ],
)
def test_a_file_that_is_no_history_is_refused_in_one_line(text, words, tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as error:
        read_history(path)
    assert "\n" not in str(error.value) and "history.csv" in str(error.value)


def test_an_epoch_beyond_all_numbers_is_refused(tmp_path):
    (tmp_path / "history.csv").write_text("epoch,loss\n1e400,3\n")
    with pytest.raises(InputError, match=r"cannot convert float infinity.*give numbers, one an epoch"):
        read_history(tmp_path / "history.csv")
