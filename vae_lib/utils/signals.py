"""Stopping between two steps: Ctrl-C and SIGTERM become a request that the training loop honours."""

import contextlib
import signal
import threading


class Terminated(SystemExit):
    """SIGTERM asked this process to end; its exit code is 143."""

    def __init__(self):
        super().__init__(128 + signal.SIGTERM)


class StopRequest:
    """Whether a signal asked to stop, and how to leave then."""

    signal: int | None = None

    def leave(self) -> None:
        """Stop as the signal asks: KeyboardInterrupt for Ctrl-C, Terminated for SIGTERM."""
        raise KeyboardInterrupt if self.signal == signal.SIGINT else Terminated


@contextlib.contextmanager
def stop_requests():
    """Catch SIGINT and SIGTERM as a StopRequest while the block runs; only the main thread can."""
    stop = StopRequest()

    def request(signum, frame):
        stop.signal = signum

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
