"""The command line: each command is a call into the modules beside it, imported only when it runs."""

from __future__ import annotations

import io
import os
import sys
import warnings

from limbeck.cli import distilling, learning, using  # adds the commands
from limbeck.cli.app import app
from limbeck.errors import LimbeckError, LimbeckWarning
from limbeck.terminal import show_warning

__all__ = ["app", "distilling", "learning", "main", "using"]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a user's mistake prints one clear message and exits with 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a column's name may not fit the terminal's alphabet
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")  # other people's; ours are notes
            warnings.simplefilter("always", LimbeckWarning)
            warnings.showwarning = show_warning
        try:
            app(arguments)
        except LimbeckError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
        except KeyboardInterrupt:
            resumes = (sys.argv[1:] if arguments is None else arguments)[:1] == ["fit"]
            print("interrupted" + "; with --resume it goes on where it stopped" * resumes, file=sys.stderr)
            sys.exit(130)
        except BrokenPipeError:  # the reader of a pipe went away
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except OSError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
