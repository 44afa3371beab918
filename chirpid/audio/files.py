"""Open recordings by what they contain, and say in plain words why one cannot be opened."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import soundfile

from chirpid.audio.mp3 import os_name, quiet_source
from chirpid.errors import DataError

PROBE_BYTES = 4096

# (offset, bytes found there, what that is): formats that libsndfile does not read
_FOREIGN = (
    (4, b"ftyp", "AAC or another codec in MP4"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media Audio"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"#!AMR", "AMR"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (0, b"ADIF", "AAC"),
    (0, b"\xff\xf1", "AAC"),
    (0, b"\xff\xf9", "AAC"),
)
_NOT_AUDIO = (
    (b"\x00\x05\x16\x07", "it is a side file of macOS (AppleDouble). Delete it, or drop its row"),
    (b"version https://git-lfs", "it is a Git LFS pointer. Fetch the recording with git lfs pull"),
    (b"/annex/objects", "it is a git-annex pointer. Fetch the recording with git annex get"),
    (b"PK\x03\x04", "it is a ZIP archive. Unpack it first"),
    (b"\x1f\x8b", "it is compressed with gzip. Unpack it first"),
)


class UnusableRecordingError(DataError):
    """One recording cannot be read. `reason` says why, without the name of the file."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path.name} {reason}.")
        self.reason = reason


class Reader(soundfile.SoundFile):  # type: ignore[misc, unused-ignore]
    """A sound file that is read forward.

    soundfile seeks after every read of a seekable file. In MP3 and Ogg that changes what is
    decoded next, so this one claims that it cannot seek; `seek` itself still works.
    """

    def seekable(self) -> bool:
        """Return False, so that reading goes on exactly where it stopped."""
        return False


@dataclass(frozen=True, slots=True)
class Info:
    """What the header of a recording says. `num_frames` may be wrong; only decoding tells."""

    sample_rate_hz: int
    num_frames: int
    num_channels: int
    format: str
    """WAV, FLAC, OGG, MP3, AIFF, ..."""
    subtype: str
    """PCM_16, FLOAT, VORBIS, OPUS, MPEG_LAYER_III, ..."""

    @property
    def exact_seek(self) -> bool:
        """Whether seeking gives the very samples of a whole decode (linear codings and FLAC)."""
        return self.subtype.startswith("PCM_") or self.subtype in (
            "FLOAT",
            "DOUBLE",
            "ULAW",
            "ALAW",
        )


def open_recording(path: Path, *, header_only: bool = False) -> Reader:
    """Return `path` opened for reading forward from its first frame.

    Args:
        header_only: nothing else is going to be read.
    Raises:
        UnusableRecordingError: missing, not a file, empty, or not audio that libsndfile reads.
    """
    head = _head_of(path, header_only=header_only)
    known = _is_known(head)
    if not known:
        _refuse_what_is_not_audio(path, head)
    try:
        if not known:  # only what may be MP3 needs a second look
            return Reader(quiet_source(path))
        return Reader(_source(path, header_only=header_only))
    except soundfile.SoundFileError as error:
        _refuse_what_is_not_audio(path, head)
        raise cannot_read(path, error) from error


def info_of(file: Reader) -> Info:
    """Return what the header of an open file says."""
    return Info(
        sample_rate_hz=int(file.samplerate),
        num_frames=int(file.frames),
        num_channels=int(file.channels),
        format="WAV" if file.format in ("WAVEX", "RF64") else str(file.format),
        subtype=str(file.subtype),
    )


def probe(path: Path) -> Info:
    """Return what the header of `path` says, without decoding.

    Raises:
        UnusableRecordingError: as `open_recording`.
    """
    with open_recording(path, header_only=True) as file:
        return info_of(file)


def _source(path: Path, *, header_only: bool) -> int | str | bytes:
    """Return an open file for `Reader`, which closes it, or a name where that does as well."""
    # By a name that ends in .raw, soundfile would not look for a header.
    if os.name == "nt" or not (header_only or path.suffix.lower() == ".raw"):
        return os_name(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    if header_only:
        read_no_further(descriptor)
    return descriptor


def read_no_further(descriptor: int) -> None:
    """Have the system read what is asked for; it reads on otherwise, up to megabytes of it."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)


def cannot_read(path: Path, error: Exception, where: str = "") -> UnusableRecordingError:
    """Return an error that names the file and what the decoder says of it."""
    said = str(getattr(error, "error_string", error)).strip().rstrip(".")
    if "regular file" in said:  # libsndfile's word for an MP3 in which it finds no frame
        said = "Format not recognised"
    return UnusableRecordingError(
        path, f"cannot be decoded{where}: {said}. It may be damaged; fetch it again"
    )


def _head_of(path: Path, *, header_only: bool) -> bytes:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for ever
            raise UnusableRecordingError(path, "is not a file but a folder, a pipe or a device")
        with open(path, "rb", buffering=0) as handle:
            if header_only:
                read_no_further(handle.fileno())
            return handle.read(PROBE_BYTES) or b""
    except OSError as error:
        raise UnusableRecordingError(
            path, f"cannot be opened: {error.strerror or error}"
        ) from error


def _is_known(head: bytes) -> bool:
    """Return whether this begins as one of the formats that are used most, MP3 aside."""
    if head[:4] in (b"fLaC", b"OggS"):
        return True
    return head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE"


def _refuse_what_is_not_audio(path: Path, head: bytes) -> None:
    reason = _why_not_audio(head, path.name)
    if reason:
        raise UnusableRecordingError(path, f"is not a recording: {reason}")


def _why_not_audio(head: bytes, name: str) -> str | None:
    if not head:
        return "it is empty (0 bytes). Fetch it again, or drop it"
    for offset, mark, what in _FOREIGN:
        if head[offset : offset + len(mark)] == mark:
            new = f"{name.rpartition('.')[0] or name}.flac"
            return f"{what} is not supported. Convert it: ffmpeg -i '{name}' '{new}'"
    for mark, reason in _NOT_AUDIO:
        if head.startswith(mark):
            return reason
    if not any(head):
        return "it begins with nothing but zero bytes, as after a broken copy. Fetch it again"
    return _why_text(head)


def _why_text(head: bytes) -> str | None:
    """Tell text from sound before mpg123 does: it would search all of it, and complain aloud."""
    if any(byte < 9 or 13 < byte < 32 for byte in head):
        return None
    if head.lstrip()[:1] == b"<":
        return "it is a web page, as a failed download leaves it. Fetch it again"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not just a letter cut in two
            return None
    return "it is plain text"
