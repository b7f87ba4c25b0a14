"""The one exception that means: what you gave me cannot be used, and this is what to do instead."""


class InputError(ValueError):
    """A bad option, file or data set. The message says what, the value received and the remedy.

    The command line prints the message as one line and exits with code 2.
    """
