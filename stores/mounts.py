"""What kind of file system a path is on: one that waits for a network can hold a call for ever."""

from pathlib import Path

_MOUNTS = Path("/proc/self/mounts")

_NETWORK = frozenset(
    "9p afs beegfs ceph cifs coda davfs gfs2 glusterfs gpfs lustre".split()
    + "ncpfs nfs nfs4 ocfs2 orangefs pvfs2 smb3 smbfs".split()
)


def on_network(path: Path, mounts: Path = _MOUNTS) -> bool:
    """Whether `path` (absolute; nothing of it is touched) lies on a network or FUSE file system.

    Where the list of mounts cannot be read, the answer is no: the common case, and the quicker way to write.
    """
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return False
    found, kind = "", ""
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].encode().decode("unicode_escape")  # blanks stand there as \\040
        # Of two mounts on one point the later one is on top.
        if len(point) >= len(found) and path.is_relative_to(point):
            found, kind = point, fields[2]
    return kind in _NETWORK or kind.startswith("fuse")
