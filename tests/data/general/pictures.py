"""Small images for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

H, W = 12, 20


def write_photos(root: Path) -> Path:
    """Write twelve colour images of three classes, in folders as deep as people make them."""
    rng = np.random.default_rng(3)
    for label in ("wren", "owl", "Zaunkönig 鳥"):
        for name in ("0.png", "1.PNG", "more/2.jpg", "more/deep/3.bmp"):
            path = root / label / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (H, W, 3), np.uint8)).save(path)
    (root / "owl" / ".hidden.png").write_bytes(b"passed over")
    (root / "owl" / "._0.png").write_bytes(b"passed over")
    (root / "owl" / "notes.txt").write_text("passed over, and said")
    return root


def spot(path: Path, row: int, column: int, shape: tuple[int, int]) -> None:
    """Write a black image with one white pixel."""
    pixels = np.zeros(shape, dtype=np.uint8)
    pixels[row, column] = 255
    Image.fromarray(pixels).save(path)
