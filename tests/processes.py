"""What a test relies on in the processes that it starts, whoever started the tests."""

import signal


def in_foreground() -> None:
    """For ``preexec_fn``: signals as a command has them that a shell starts in the foreground.

    A shell that starts the tests in the background ignores SIGINT for them, ``nohup`` ignores
    SIGHUP, and both are inherited.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGXCPU):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
