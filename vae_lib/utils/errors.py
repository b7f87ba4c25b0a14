"""The exceptions that a user can do something about: their messages say what."""


class InputError(ValueError):
    """A bad option, file or data set. The message says what, the value received and the remedy.

    The command line prints the message as one line and exits with code 2; a notebook prints it as one line.
    """

    def _render_traceback_(self) -> list[str]:
        """Return the lines that a notebook shows in place of a traceback."""
        return [f"Stopped: {self}"]


class DivergenceError(RuntimeError):
    """The loss of a training became NaN or infinite; the last finite checkpoint is kept.

    The command line prints the message as one line and exits with code 1.
    """
