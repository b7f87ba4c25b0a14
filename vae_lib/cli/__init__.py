"""The command line: `python -m vae_lib train | evaluate | sample | encode | export | compress | study | ...`.

`vl` imports what a command uses when it is used, so that `--help` and bad options are answered at once.
"""

from vae_lib.cli.entry import main, make_parser

__all__ = ["main", "make_parser"]
