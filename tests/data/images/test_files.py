"""Images as they really lie in folders: odd kinds are read as they are meant, damage is named."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from chirpid.data.images.dataset import ImageDataset
from chirpid.data.images.files import UnusableImageError
from chirpid.data.images.rule import PixelRule
from chirpid.errors import DataError
from tests.examples import examples

RAMP = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))
"""Gray levels that grow from left to right, [48, 64]."""


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gray(path: Path, **rule: object) -> np.ndarray:
    return PixelRule(channels="L", **rule).read(str(path))[0]  # type: ignore[arg-type]


def test_sixteen_bits_are_scaled_and_not_cut(tmp_path: Path) -> None:
    levels = np.array([[0, 128, 257, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    assert gray(tmp_path / "deep.png").tolist() == [[0, 0, 1, 128, 255]]
    assert (gray(tmp_path / "deep.png", bits=16) == levels).all()
    (tmp_path / "deep.pgm").write_bytes(b"P5 5 1 65535\n" + levels.astype(">u2").tobytes())
    assert (gray(tmp_path / "deep.pgm", bits=16) == levels).all()


def test_eight_bits_reach_the_same_white_as_sixteen(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1, 255]], dtype=np.uint8)).save(tmp_path / "flat.png")
    assert gray(tmp_path / "flat.png", bits=16).tolist() == [[0, 257, 65535]]


def test_transparent_places_lie_over_white(tmp_path: Path) -> None:
    dots = np.zeros((1, 3, 4), dtype=np.uint8)
    dots[0, :, 3] = [0, 255, 127]
    Image.fromarray(dots).save(tmp_path / "clear.png")
    assert gray(tmp_path / "clear.png").tolist() == [[255, 0, 128]]
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), "P")
    palette.putpalette([200, 0, 0, 0, 0, 200])
    palette.save(tmp_path / "palette.png", transparency=0)
    found = PixelRule().read(str(tmp_path / "palette.png"))
    assert found[:, 0].T.tolist() == [[255, 255, 255], [0, 0, 200]]


def test_palettes_bits_and_print_colours_become_the_colours_they_show(tmp_path: Path) -> None:
    red = Image.new("RGB", (16, 16), (255, 0, 0))
    red.convert("P").save(tmp_path / "p.gif")
    red.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    for name in ("p.gif", "cmyk.jpg"):
        found = PixelRule().read(str(tmp_path / name))
        assert np.abs(found.astype(int) - [[[255]], [[0]], [[0]]]).max() < 8, name
    Image.fromarray(RAMP > 100).save(tmp_path / "bits.png")
    assert (gray(tmp_path / "bits.png") == np.where(RAMP > 100, 255, 0)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "PNG"])
def test_a_turned_camera_gives_an_upright_image(
    tmp_path: Path, kind: str, orientation: int
) -> None:
    upright = Image.fromarray(np.kron([[0, 85], [170, 255]], np.ones((16, 24))).astype(np.uint8))
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how the camera was held, undone by EXIF
    lies = upright if orientation == 1 else upright.transpose(Image.Transpose(turns[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{kind.lower()}"
    lies.save(path, exif=exif, **({"quality": 100} if kind == "JPEG" else {}))
    assert np.abs(gray(path).astype(int) - np.asarray(upright)).max() < 12
    assert len(ImageDataset(paths=[path], size=(32, 48), resize=None)) == 1


def test_the_first_frame_of_a_film_is_taken_and_that_is_said(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 8), level) for level in (40, 80, 120)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    found = ImageDataset(tmp_path, channels="L", check="full")
    assert (found[0] == 40).all()
    assert found.notes == [
        "Animated, of which the first frame is taken: 1 image, such as film.gif."
    ]


def hostile(folder: Path) -> dict[str, str]:
    """Write files that cannot be used, and return what is to be said of each."""
    png = saved(Image.fromarray(RAMP), "PNG")
    jpeg = saved(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)),
                 "JPEG")  # fmt: skip
    gif, webp = (saved(Image.fromarray(RAMP), kind) for kind in ("GIF", "WEBP"))
    Image.fromarray(np.ones((4, 4), np.float32)).save(folder / "float.tiff")
    Image.fromarray(np.full((4, 4), 70000, np.int32)).save(folder / "wide.tif")
    os.symlink(folder / "nowhere", folder / "link.png")
    files = {
        "empty.png": (b"", "it is empty"),
        "zeros.jpg": (bytes(900), "nothing but zero bytes"),
        "page.png": (b"<!DOCTYPE html><html>404</html>", "web page"),
        "drawing.png": (b"<?xml version='1.0'?><svg/>", "SVG"),
        "notes.bmp": (b"to do: take pictures\n", "plain text"),
        "pointer.png": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        "phone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        "cut.png": (png[: len(png) // 2], "truncated"),
        "cut.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "cut.gif": (gif[: len(gif) // 2], "truncated"),
        "cut.webp": (webp[: len(webp) // 2], "no image"),
        "noise.png": (b"\x89PNG\r\n\x1a\n" + bytes(range(200)), "no image that can be read"),
    }
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    said = {name: reason for name, (_, reason) in files.items()}
    return {
        **said, "float.tiff": "floating-point", "wide.tif": "32-bit", "link.png": "leads nowhere",
    }  # fmt: skip


@pytest.mark.parametrize("check", ["header", "full"])
def test_all_that_is_bad_is_named_in_one_pass(tmp_path: Path, check: str) -> None:
    said = hostile(tmp_path)
    Image.fromarray(RAMP).save(tmp_path / "good.png")
    with pytest.raises(DataError) as caught:
        ImageDataset(tmp_path, check=check)
    first, *lines = str(caught.value).splitlines()
    assert first.startswith("15 of 16 images cannot be used.")
    found = dict(line.strip().split(": ", 1) for line in lines)
    assert found.keys() == said.keys()
    for name, reason in said.items():
        assert reason in found[name], name
        assert str(tmp_path) not in found[name]


def test_bad_images_can_be_left_out_and_are_counted(tmp_path: Path) -> None:
    said = hostile(tmp_path)
    Image.fromarray(RAMP).save(tmp_path / "good.png")
    found = ImageDataset(tmp_path, on_bad="skip")
    assert len(found) == 1
    assert {item.name for item in found.bad} == said.keys()
    assert found.notes[0].startswith("15 of 16 images cannot be used and are left out: ")
    (tmp_path / "good.png").unlink()
    with pytest.raises(DataError, match="15 of 15 images cannot be used, so none is left"):
        ImageDataset(tmp_path, on_bad="skip")


def test_damage_in_the_middle_shows_when_all_is_decoded(tmp_path: Path) -> None:
    data = bytearray(saved(Image.fromarray(RAMP), "PNG"))
    middle = data.index(b"IDAT") + 10
    data[middle : middle + 8] = b"\xff" * 8
    (tmp_path / "hurt.png").write_bytes(data)
    found = ImageDataset(tmp_path)  # headers and ends are sound
    with pytest.raises(UnusableImageError, match=r"hurt\.png cannot be decoded"):
        found[0]
    with pytest.raises(DataError, match=r"hurt\.png: cannot be decoded"):
        ImageDataset(tmp_path, check="full")


def test_more_pixels_than_pillow_allows_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(RAMP).save(tmp_path / "large.png")
    for limit in (RAMP.size - 1, RAMP.size // 2 - 1):  # where Pillow warns, and where it raises
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(DataError, match=r"large\.png: claims.*MAX_IMAGE_PIXELS"):
            ImageDataset(tmp_path)


def test_an_error_survives_the_way_out_of_a_worker() -> None:
    error = pickle.loads(pickle.dumps(UnusableImageError("a.png", "is no image")))
    assert (str(error), error.reason) == ("a.png is no image.", "is no image")


KINDS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", "WEBP")


@given(
    kind=st.sampled_from(KINDS),
    cut=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
)
@settings(
    max_examples=examples(80),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_damage_gives_pixels_or_a_reason(
    tmp_path: Path, kind: str, cut: float, changes: list[tuple[float, int]]
) -> None:
    Image.fromarray(RAMP).save(tmp_path / "good.png")
    data = bytearray(saved(Image.fromarray(RAMP), kind))
    for place, byte in changes:
        data[int(place * len(data))] = byte
    (tmp_path / "any.png").write_bytes(data[: int(cut * len(data))])
    path = tmp_path / "any.png"
    found = ImageDataset(
        paths=[path, tmp_path / "good.png"], size=(8, 8), check="full", on_bad="skip"
    )
    assert {Path(item.name) for item in found.bad} <= {path}
    assert all(image.shape == (3, 8, 8) for image in found)
