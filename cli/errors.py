"""What ends a command: one sentence on stderr and an exit status, never a trace."""

from typing import IO, Any

import click


class Sentence(click.ClickException):
    """The text is for the user of the command line."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the sentence in one line, with what was noted on the way."""
        text = " ".join([self.message, *getattr(self, "__notes__", [])])
        click.echo("tranship: " + " ".join(text.split()), file=file, err=True)


class Refused(Sentence):
    """The command does not start; the text says why and what to change. Exit status 2."""

    exit_code = 2


class ClientError(Sentence):
    """A request came to nothing. Exit status 1."""

    exit_code = 1


class NoAnswer(ClientError):
    """Nobody listens there, or the answer did not come. Asking again later may help."""


class Answered(ClientError):
    """The service said no, with this HTTP `status`."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
