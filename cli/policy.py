"""`tranship policy list`: the rules in effect, and which of them a policy file has changed."""

from api.policy import Policy
from cli import show
from cli.start import read_settings, refusing


def list_rules(config_files: tuple[str, ...]) -> None:
    """Print every rule with what it says. Raises `Refused` for a file that the service would refuse."""
    settings = read_settings(config_files)
    with refusing():
        rules = Policy(settings.api).rules()
    show.rules(show.console(), rules.in_effect())
