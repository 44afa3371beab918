"""What kind of disk a path lies on, as far as the system tells. Needs no rights.

Linux tells through `/proc/self/mountinfo` and `/sys`; elsewhere the kind is unknown. What a
hypervisor, a container or a logical volume of another host hides is unknown too, and says why.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

MOUNTS = Path("/proc/self/mountinfo")
SYSTEM = Path("/sys")

_IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs"}
_OVER_NETWORK = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs",
    "afs", "pvfs2", "orangefs", "ocfs2", "gfs2", "wekafs", "quobyte", "juicefs", "mount-s3",
    "s3fs", "gcsfuse", "sshfs", "rclone", "goofys", "blobfuse2", "davfs", "9p", "virtiofs",
    "vboxsf", "drvfs",
}  # fmt: skip
"""File systems whose files lie on another machine, or on the host of a virtual one."""
_REMOTE_NVME = ("Amazon Elastic Block Store", "nvme_card-pd", "MSFT NVMe Accelerator")
"""Models of NVMe disks that clouds serve over their network."""
_VIRTUAL = ("QEMU", "VMware", "VBOX", "Msft", "Google", "Virtual", "PersistentDisk", "OPEN-iSCSI")
"""Vendors and models of SCSI disks that a hypervisor makes up."""


class DiskKind(StrEnum):
    """What reads cost: a seek, nothing, or a round trip."""

    rotational = "rotational"
    ssd = "ssd"
    nvme = "nvme"
    network = "network"
    memory = "memory"
    unknown = "unknown"


_SLOWEST_FIRST = (
    DiskKind.unknown, DiskKind.network, DiskKind.rotational, DiskKind.ssd, DiskKind.nvme,
    DiskKind.memory,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Disk:
    """Where a path lies."""

    path: Path
    kind: DiskKind
    reason: str
    """How the kind is known, or why not."""
    filesystem: str | None = None
    device: str | None = None
    free_bytes: int | None = None
    total_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class _Mount:
    number: str
    """major:minor of the device, 0:something where there is none."""
    point: str
    filesystem: str
    source: str


def read_disk(path: Path, *, mounts: Path = MOUNTS, system: Path = SYSTEM) -> Disk:
    """Return what is known of the disk of `path`, or of where it would be made.

    Args:
        mounts, system: other trees than this machine's, for tests.
    """
    there = path.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    free, total = _space(there)
    mount = _mount_of(there.resolve(), mounts)
    if mount is None:
        reason = "this system does not tell"
        return Disk(path, DiskKind.unknown, reason, free_bytes=free, total_bytes=total)
    kind, reason = _kind(mount, mounts, system)
    return Disk(path, kind, reason, mount.filesystem, mount.source, free, total)


def _space(path: Path) -> tuple[int | None, int | None]:
    try:
        usage = psutil.disk_usage(str(path))
    except OSError:
        return None, None
    return usage.free, usage.total


def _mount_of(path: Path, mounts: Path) -> _Mount | None:
    """Return the mount with the longest path above `path`; of several there, the one on top."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    found = None
    for line in lines:
        mount = _parsed(line)
        if mount is not None and path.is_relative_to(mount.point):
            found = mount if found is None or len(mount.point) >= len(found.point) else found
    return found


def _parsed(line: str) -> _Mount | None:
    """Return a line of mountinfo. Source: proc_pid_mountinfo(5)."""
    before, separator, after = line.partition(" - ")
    fields, rest = before.split(" "), after.split(" ")
    if not separator or len(fields) < 6 or len(rest) < 2:
        return None
    return _Mount(fields[2], _plain(fields[4]), rest[0], _plain(rest[1]))


def _plain(text: str) -> str:
    """Return a path with its blanks, which mountinfo writes as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _kind(mount: _Mount, mounts: Path, system: Path) -> tuple[DiskKind, str]:
    name = mount.filesystem.removeprefix("fuse.")
    if name in _IN_MEMORY:
        return DiskKind.memory, f"{name} lies in RAM"
    if name in _OVER_NETWORK:
        return DiskKind.network, f"{name} brings files from another machine or from the host"
    block = _block_of(mount, system)
    if block is None:
        return DiskKind.unknown, f"{mount.filesystem} does not tell the disk below it"
    return _block_kind(block, mounts, system)


def _block_of(mount: _Mount, system: Path) -> Path | None:
    """Return the folder in /sys of a mount's block device."""
    device = os.path.realpath(mount.source) if mount.source.startswith("/dev/") else ""
    # btrfs and some others number their mounts 0:x, and name a device all the same.
    candidates = [system / "dev/block" / mount.number]
    if device:
        candidates.append(system / "class/block" / Path(device).name)
    return next((one.resolve() for one in candidates if one.exists()), None)


def _block_kind(block: Path, mounts: Path, system: Path) -> tuple[DiskKind, str]:
    if (block / "partition").exists():
        block = block.parent
    name = block.name
    below = sorted((block / "slaves").iterdir()) if (block / "slaves").is_dir() else []
    if below:  # a volume, an encrypted disk, a RAID: as quick as the slowest part
        parts = [_block_kind(one.resolve(), mounts, system) for one in below]
        kind, reason = min(parts, key=lambda part: _SLOWEST_FIRST.index(part[0]))
        return kind, f"{name} over {reason}"
    backing = _text(block / "loop/backing_file")
    if backing:
        disk = read_disk(Path(backing), mounts=mounts, system=system)
        return disk.kind, f"{name} is a file on another disk: {disk.reason}"
    if name.startswith(("zram", "ram", "pmem")):
        return DiskKind.memory, f"{name} lies in RAM"
    if name.startswith(("nbd", "rbd", "drbd")):
        return DiskKind.network, f"{name} is served by another machine"
    return _physical_kind(block)


def _physical_kind(block: Path) -> tuple[DiskKind, str]:
    name, model = block.name, _text(block / "device/model") or ""
    if name.startswith("nvme"):
        if model.startswith(_REMOTE_NVME):
            return DiskKind.network, f"{name} is {model}, served over the network"
        return DiskKind.nvme, f"{name} is {model or 'NVMe'}"
    maker = f"{_text(block / 'device/vendor') or ''} {model}"
    if name.startswith(("vd", "xvd")) or any(word in maker for word in _VIRTUAL):
        return DiskKind.unknown, f"{name} is a virtual disk: what is behind it is not told"
    rotates = _text(block / "queue/rotational")
    if rotates == "1":
        return DiskKind.rotational, f"{name} rotates"
    if rotates == "0":
        return DiskKind.ssd, f"{name} does not rotate"
    return DiskKind.unknown, f"{name} does not tell whether it rotates"


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None
