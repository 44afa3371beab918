"""Kinds of disks, read from trees laid out like /proc and /sys."""

from __future__ import annotations

from pathlib import Path

import pytest

from chirpid.loading.disks import Disk, DiskKind, read_disk


class System:
    """A tree with mounts and block devices."""

    def __init__(self, root: Path) -> None:
        self.root, self.mounts, self.sys = root, root / "mountinfo", root / "sys"
        self.lines: list[str] = []

    def disk(self, name: str, number: str, **files: str) -> Path:
        """Add a block device; `queue_rotational="1"` writes queue/rotational."""
        folder = self.sys / "devices" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            path = folder / file.replace("_", "/", 1)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        link = self.sys / "dev/block" / number
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folder)
        return folder

    def mount(self, number: str, point: Path, filesystem: str, source: str) -> None:
        escaped = str(point).replace(" ", "\\040")
        self.lines.append(f"27 1 {number} / {escaped} rw - {filesystem} {source} rw")

    def read(self, path: Path) -> Disk:
        self.mounts.write_text("\n".join([*self.lines, "a line of another kernel", ""]))
        return read_disk(path, mounts=self.mounts, system=self.sys)


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


@pytest.mark.parametrize(
    ("name", "files", "kind", "reason"),
    [
        ("sda", {"queue_rotational": "1"}, "rotational", "sda rotates"),
        ("sdb", {"queue_rotational": "0"}, "ssd", "sdb does not rotate"),
        ("sdc", {}, "unknown", "sdc does not tell whether it rotates"),
        ("nvme0n1", {"device_model": "Samsung SSD 990 PRO 2TB"}, "nvme", "990 PRO"),
        ("nvme1n1", {"device_model": "Amazon Elastic Block Store"}, "network", "over the network"),
        ("nvme2n1", {"device_model": "Amazon EC2 NVMe Instance Storage"}, "nvme", "Instance"),
        ("vda", {"queue_rotational": "1"}, "unknown", "virtual disk"),
        ("sdd", {"device_vendor": "QEMU", "queue_rotational": "1"}, "unknown", "virtual disk"),
        ("zram0", {"queue_rotational": "0"}, "memory", "RAM"),
        ("nbd0", {"queue_rotational": "0"}, "network", "another machine"),
    ],
)
def test_block_devices(
    system: System, name: str, files: dict[str, str], kind: str, reason: str
) -> None:
    system.disk(name, "8:0", **files)
    system.mount("8:0", Path("/"), "ext4", f"/dev/{name}")
    disk = system.read(system.root)
    assert (disk.kind, disk.filesystem, disk.device) == (DiskKind(kind), "ext4", f"/dev/{name}")
    assert reason in disk.reason
    assert disk.free_bytes is not None
    assert disk.total_bytes is not None
    assert 0 <= disk.free_bytes <= disk.total_bytes


@pytest.mark.parametrize(
    ("filesystem", "kind"),
    [
        ("tmpfs", "memory"), ("nfs4", "network"), ("cifs", "network"), ("9p", "network"),
        ("fuse.sshfs", "network"), ("lustre", "network"), ("overlay", "unknown"),
        ("zfs", "unknown"), ("fuse.encfs", "unknown"),
    ],
)  # fmt: skip
def test_file_systems_without_a_disk_of_their_own(
    system: System, filesystem: str, kind: str
) -> None:
    system.mount("0:40", Path("/"), filesystem, "somewhere")
    disk = system.read(system.root)
    assert disk.kind == DiskKind(kind)
    assert filesystem.removeprefix("fuse.") in disk.reason


def test_a_partition_is_of_its_disks_kind(system: System) -> None:
    disk = system.disk("sda", "8:0", queue_rotational="1")
    (disk / "sda1").mkdir()
    (disk / "sda1/partition").write_text("1\n")
    (system.sys / "dev/block/8:1").symlink_to(disk / "sda1")
    system.mount("8:1", Path("/"), "xfs", "/dev/sda1")
    assert system.read(system.root).kind is DiskKind.rotational


def test_a_volume_is_as_quick_as_its_slowest_part(system: System) -> None:
    slow = system.disk("sda", "8:0", queue_rotational="1")
    quick = system.disk("nvme0n1", "259:0")
    volume = system.disk("dm-0", "253:0")
    (volume / "slaves").mkdir()
    (volume / "slaves/nvme0n1").symlink_to(quick)
    system.mount("253:0", Path("/"), "ext4", "/dev/mapper/data")
    assert system.read(system.root).kind is DiskKind.nvme
    (volume / "slaves/sda").symlink_to(slow)
    disk = system.read(system.root)
    assert (disk.kind, disk.reason) == (DiskKind.rotational, "dm-0 over sda rotates")


def test_a_file_system_with_numbers_of_its_own_names_its_device(system: System) -> None:
    folder = system.disk("nvme0n1", "259:0")
    (system.sys / "class/block").mkdir(parents=True)
    (system.sys / "class/block/nvme0n1").symlink_to(folder)
    system.mount("0:33", Path("/"), "btrfs", "/dev/nvme0n1")
    assert system.read(system.root).kind is DiskKind.nvme


def test_an_image_is_of_the_kind_of_the_disk_that_it_lies_on(system: System) -> None:
    system.disk("sda", "8:0", queue_rotational="1")
    system.disk("loop0", "7:0", loop_backing_file=str(system.root / "image"))
    inside = system.root / "image mounted here"
    inside.mkdir()
    system.mount("8:0", Path("/"), "ext4", "/dev/sda")
    system.mount("7:0", inside, "squashfs", "/dev/loop0")
    disk = system.read(inside)
    assert (disk.kind, disk.filesystem) == (DiskKind.rotational, "squashfs")


def test_the_nearest_mount_counts_and_of_two_there_the_later(system: System) -> None:
    near = system.root / "near"
    near.mkdir()
    system.mount("0:1", near, "overlay", "none")
    system.mount("0:2", near, "tmpfs", "none")
    system.mount("0:3", Path("/"), "nfs", "server:/")
    assert system.read(near / "not" / "there" / "yet").kind is DiskKind.memory
    assert system.read(system.root / "nearby").kind is DiskKind.network


def test_without_mountinfo_the_kind_is_unknown_and_the_room_is_known(tmp_path: Path) -> None:
    disk = read_disk(tmp_path, mounts=tmp_path / "none", system=tmp_path / "none")
    assert (disk.kind, disk.filesystem) == (DiskKind.unknown, None)
    assert disk.reason == "this system does not tell"
    assert disk.total_bytes


def test_this_machine_tells_something_of_every_path() -> None:
    disk = read_disk(Path())
    assert disk.kind in DiskKind
    assert disk.reason
