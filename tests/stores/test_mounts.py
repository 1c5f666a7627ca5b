"""Which directories lie on a file system that waits for a network."""

from pathlib import Path

import pytest

from stores.mounts import on_network

MOUNTS = """\
/dev/vda / ext4 rw 0 0
server:/export /srv/images nfs4 rw 0 0
/dev/vdb /srv/images/local xfs rw 0 0
tmpfs /srv/over tmpfs rw 0 0
ceph-fuse /srv/over fuse.ceph-fuse rw 0 0
//nas/share /srv/two\\040words cifs rw 0 0
broken line
"""

TABLE = [
    ("/var/lib/images", False),
    ("/srv/images", True),
    ("/srv/images/a/b", True),
    ("/srv/images/local/a", False),
    ("/srv/imagesque", False),
    ("/srv/over/a", True),
    ("/srv/two words/a", True),
]


@pytest.mark.parametrize(("path", "remote"), TABLE)
def test_table(tmp_path: Path, path: str, remote: bool) -> None:
    (tmp_path / "mounts").write_text(MOUNTS)
    assert on_network(Path(path), tmp_path / "mounts") is remote


def test_without_a_list_of_mounts_nothing_is_remote(tmp_path: Path) -> None:
    assert not on_network(Path("/srv/images"), tmp_path / "absent")


def test_the_list_of_this_machine_can_be_read(tmp_path: Path) -> None:
    assert not on_network(tmp_path)
