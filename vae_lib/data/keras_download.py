"""Let keras.datasets load a data set and save it, in a process of its own that can be stopped.

    python -P keras_download.py NAME OUT STALL SERVER

saves the data set NAME as OUT, an .npz file, and fails where the network is silent for STALL seconds. SERVER
is an address that must show a sign of life first, because importing Keras takes seconds; where it is empty,
the network is not used, and all files must lie in KERAS_HOME. With -P no module of this folder hides another.
"""

import contextlib
import importlib
import socket
import sys
import urllib.error
import urllib.request

import numpy as np

_look_up = socket.getaddrinfo


def main(name: str, out: str, stall: str, server: str) -> None:
    """Save `x_train`, `y_train`, `x_test` and `y_test` of a data set that keras.datasets knows."""
    socket.setdefaulttimeout(float(stall))
    socket.getaddrinfo = _one_of_each_family
    if server:
        _knock(server)
    else:
        urllib.request.urlretrieve = _refuse
    load_data = importlib.import_module(f"keras.datasets.{name}").load_data
    (x_train, y_train), (x_test, y_test) = load_data()
    np.savez(out, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


def _knock(server: str) -> None:
    """Raise an OSError unless the server answers, by the route that the download will take."""
    with contextlib.suppress(urllib.error.HTTPError):  # an error page is an answer
        urllib.request.urlopen(urllib.request.Request(server, method="HEAD")).close()


def _refuse(*_, **__) -> None:
    raise OSError("Keras' cached file is damaged")


def _one_of_each_family(*args, **kwargs) -> list:
    """Look a name up and keep its first IPv4 and IPv6 address: it may have twenty, each as slow to fail."""
    first = {}
    for found in _look_up(*args, **kwargs):
        first.setdefault(found[0], found)
    return list(first.values())


if __name__ == "__main__":
    main(*sys.argv[1:])
