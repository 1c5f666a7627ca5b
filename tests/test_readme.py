"""What the README shows must work as it stands there."""

import re
from pathlib import Path

from tests.conformance.origin import serving
from tests.flows.service import DATA

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_eager_example(tmp_path: Path) -> None:
    """Given the example as printed, when it is called, then it imports the image that it is given."""
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    run = names["test_an_import"]
    assert callable(run)
    with serving() as origin:
        origin.objects["/image"] = DATA
        allowed = [
            ("tranship", "allowed_networks", ["127.0.0.0/8"]),
            ("import_filtering_opts", "allowed_ports", [origin.port]),
        ]
        run(tmp_path, origin.url("/image"), allowed)
    assert len([line for line in example[example.index("def ") :].splitlines() if line.strip()]) <= 13
