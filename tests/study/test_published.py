"""Published figures beside ours: ours are those of the runs that come with the project."""

from tools.execute_notebook import ROOT
from vae_lib.study.grids import showcase
from vae_lib.study.published import PUBLISHED, published_table
from vae_lib.training.run import load_run


def test_ours_are_the_scores_of_the_showcase_and_every_row_says_whether_it_may_be_compared():
    runs = ROOT / "models" / "showcase"
    table = published_table(runs)
    assert {one.run for one in PUBLISHED} <= set(showcase())
    assert list(table["ours"]) == [load_run(runs / one.run).metrics[one.score] for one in PUBLISHED]
    assert table["may they be compared?"].str.match("yes: |no: ").all() and table["source"].all()
